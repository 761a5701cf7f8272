//! What a database needs before it can be read, with advice if something is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::cursor::{DatabaseCursor, Incarnation};
use super::session::{Session, literal, quoted};
use crate::Error;

/// The identity of the database, and the end of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub incarnation: Incarnation,
    /// Everything before this position is on the server's disk.
    pub end: u64,
    /// `150004` for 15.4.
    pub version: u32,
}

/// The state of the replication slot on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub plugin: String,
    pub database: String,
    /// Everything before this position was acknowledged.
    pub confirmed: u64,
    /// `lost`: the log it needs is gone.
    pub wal_status: String,
    /// Process that reads it.
    pub active_pid: Option<String>,
}

/// Queries and checks the server.
pub async fn server(session: &mut Session, source: &str) -> Result<Server, Error> {
    let level = session.text("SHOW wal_level").await?.unwrap_or_default();
    if level != "logical" {
        return Err(refused(
            source,
            format!("the server's `wal_level` is `{level}`"),
            "run `ALTER SYSTEM SET wal_level = logical` as superuser and restart the server",
        ));
    }
    let version = session.text("SHOW server_version_num").await?.unwrap_or_default();
    let identity = session.identify().await?;
    let database = session.text("SELECT current_database()").await?.unwrap_or_default();
    let incarnation = Incarnation { system: identity.system_id, timeline: identity.timeline, database };
    Ok(Server { incarnation, end: identity.xlogpos.as_u64(), version: version.parse().unwrap_or(0) })
}

/// Queries the slot. `None`: it does not exist.
pub async fn slot(session: &mut Session, name: &str, version: u32) -> Result<Option<Slot>, Error> {
    // `wal_status` exists since version 13.
    let status = if version >= 130_000 { "wal_status" } else { "NULL" };
    let sql = format!(
        "SELECT plugin, database, coalesce(confirmed_flush_lsn, '0/0') - '0/0'::pg_lsn, {status}, active_pid \
         FROM pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    let Some(row) = session.texts(&sql).await?.into_iter().next() else { return Ok(None) };
    let [plugin, database, confirmed, wal_status, pid] = <[String; 5]>::try_from(row).unwrap_or_default();
    let confirmed = confirmed.parse().unwrap_or(u64::MAX);
    let active_pid = (!pid.is_empty()).then_some(pid);
    Ok(Some(Slot { plugin, database, confirmed, wal_status, active_pid }))
}

/// Creates the slot, so that the server keeps its log from now on.
pub async fn create_slot(session: &mut Session, source: &str, name: &str) -> Result<(), Error> {
    let sql = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput NOEXPORT_SNAPSHOT", quoted(name));
    session.rows(&sql).await?;
    tracing::info!(source, slot = name, "replication slot made");
    Ok(())
}

/// Returns why the database cannot continue the cursor's history. Pure.
pub fn history(cursor: &DatabaseCursor, server: &Server, slot: Option<&Slot>) -> Result<(), String> {
    let (was, is) = (&cursor.incarnation, &server.incarnation);
    if was.system != is.system {
        return Err(format!(
            "it is another database server than the one read before (system identifier {}, before it was {})",
            is.system, was.system
        ));
    }
    if was.timeline != is.timeline {
        return Err(format!(
            "the server is on timeline {} and was on {}: a copy has taken over, or a backup was restored",
            is.timeline, was.timeline
        ));
    }
    if was.database != is.database {
        return Err(format!("the database is `{}` and was `{}`", is.database, was.database));
    }
    if cursor.lsn > server.end {
        return Err(format!(
            "the server's log ends at {}, before {} up to which it was read: it lost what it had",
            lsn(server.end),
            lsn(cursor.lsn)
        ));
    }
    if cursor.lsn == 0 {
        // Nothing was read yet: a missing slot will be created.
        return Ok(());
    }
    match slot {
        None => Err("its replication slot is gone, and with it the changes since".to_owned()),
        Some(slot) if slot.wal_status == "lost" => {
            Err("its replication slot has lost the log it needs (`max_slot_wal_keep_size`)".to_owned())
        }
        Some(slot) if slot.confirmed > cursor.lsn => Err(format!(
            "its replication slot was acknowledged up to {} and read up to {}: another program reads it, or \
             it was made anew, or the topics were restored",
            lsn(slot.confirmed),
            lsn(cursor.lsn)
        )),
        Some(_) => Ok(()),
    }
}

/// Returns why a slot cannot be read at all. Pure.
pub fn usable(slot: &Slot, server: &Server) -> Result<(), String> {
    if slot.plugin != "pgoutput" {
        return Err(format!("its replication slot is of plugin `{}`, not `pgoutput`", slot.plugin));
    }
    if slot.database != server.incarnation.database {
        return Err(format!("its replication slot is of database `{}`", slot.database));
    }
    Ok(())
}

/// Checks that the publication contains every table that is read, and that we may read their rows.
pub async fn tables(
    session: &mut Session,
    source: &str,
    publication: &str,
    wanted: &BTreeSet<String>,
    version: u32,
) -> Result<(), Error> {
    let name = literal(publication);
    let kinds = format!(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = {name}"
    );
    let list = wanted.iter().map(|table| quoted_table(table)).collect::<Vec<_>>().join(", ");
    match session.text(&kinds).await?.as_deref() {
        None => {
            return Err(refused(
                source,
                format!("the database has no publication `{publication}`"),
                &format!(
                    "run `CREATE PUBLICATION {} FOR TABLE {list}` as owner of the tables",
                    quoted(publication)
                ),
            ));
        }
        Some("t") => {}
        Some(_) => {
            return Err(refused(
                source,
                format!("publication `{publication}` leaves out some kinds of changes"),
                &format!(
                    "run `ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')`",
                    quoted(publication)
                ),
            ));
        }
    }
    if version >= 150_000 {
        let cut = format!(
            "SELECT r.prrelid::regclass FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid \
             WHERE p.pubname = {name} AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)"
        );
        if let Some(table) = session.text(&cut).await? {
            return Err(refused(
                source,
                format!("publication `{publication}` publishes only some rows or columns of `{table}`"),
                "publish whole tables: a snapshot and the stream must see the same",
            ));
        }
    }
    let published =
        format!("SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = {name}");
    let published: BTreeSet<String> = first(session.texts(&published).await?).collect();
    let missing: Vec<&String> = wanted.difference(&published).collect();
    if !missing.is_empty() {
        let tables = missing.iter().map(|table| quoted_table(table)).collect::<Vec<_>>().join(", ");
        return Err(refused(
            source,
            format!("publication `{publication}` does not have {tables}"),
            &format!(
                "check that they exist, then run `ALTER PUBLICATION {} ADD TABLE {tables}` as owner of the tables",
                quoted(publication)
            ),
        ));
    }
    let names = wanted.iter().map(|table| literal(table)).collect::<Vec<_>>().join(", ");
    let rights = format!(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname || '.' || c.relname IN ({names}) AND NOT \
         (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))"
    );
    let denied: Vec<String> =
        first(session.texts(&rights).await?).map(|table| quoted_table(&table)).collect();
    if !denied.is_empty() {
        let user = session.text("SELECT current_user").await?.unwrap_or_default();
        return Err(refused(
            source,
            format!("user `{user}` may not read {}", denied.join(", ")),
            &format!(
                "run `GRANT SELECT ON {} TO {}`, and `GRANT USAGE ON SCHEMA …` for their schemas",
                denied.join(", "),
                quoted(&user)
            ),
        ));
    }
    Ok(())
}

/// Primary keys by table, with the columns in the key's order.
pub async fn primary_keys(session: &mut Session) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let sql = "SELECT n.nspname || '.' || c.relname, a.attname FROM pg_index i \
         JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
         WHERE i.indisprimary ORDER BY 1, array_position(i.indkey::int2[], a.attnum)";
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in session.texts(sql).await? {
        if let [table, column] = &row[..] {
            keys.entry(table.clone()).or_default().push(column.clone());
        }
    }
    Ok(keys)
}

/// `schema.table` quoted for SQL.
pub fn quoted_table(name: &str) -> String {
    let (schema, table) = name.split_once('.').unwrap_or(("public", name));
    format!("{}.{}", quoted(schema), quoted(table))
}

/// A position in PostgreSQL's notation.
pub fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

fn first(rows: Vec<Vec<String>>) -> impl Iterator<Item = String> {
    rows.into_iter().filter_map(|row| row.into_iter().next())
}

/// An error about a database that cannot be read in its current state.
pub fn refused(source: &str, why: String, help: &str) -> Error {
    Error::Refused { name: source.to_owned(), why, help: help.to_owned() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn incarnation() -> Incarnation {
        Incarnation { system: "7".to_owned(), timeline: 1, database: "shop".to_owned() }
    }
    fn cursor(lsn: u64) -> DatabaseCursor {
        let mut cursor = DatabaseCursor::begin(incarnation(), 1);
        cursor.lsn = lsn;
        cursor
    }
    fn server() -> Server {
        Server { incarnation: incarnation(), end: 1_000, version: 150_000 }
    }
    fn slot(confirmed: u64) -> Slot {
        let (plugin, database) = ("pgoutput".to_owned(), "shop".to_owned());
        Slot { plugin, database, confirmed, wal_status: "reserved".to_owned(), active_pid: None }
    }

    #[test]
    fn reading_goes_on_where_slot_and_topics_agree() {
        assert_eq!(history(&cursor(900), &server(), Some(&slot(900))), Ok(()));
        // Acknowledged late, as after a kill between the transaction and its acknowledgement.
        assert_eq!(history(&cursor(900), &server(), Some(&slot(800))), Ok(()));
        // Nothing was read yet, and the slot does not exist.
        assert_eq!(history(&cursor(0), &server(), None), Ok(()));
    }

    // Holds P5 (docs/invariants.md).
    #[rstest]
    #[case::slot_gone(900, None, "gone")]
    #[case::slot_made_anew(900, Some(901), "acknowledged up to 0/385")]
    #[case::log_fell(1_001, Some(900), "ends at 0/3E8")]
    fn another_history_is_told(#[case] at: u64, #[case] confirmed: Option<u64>, #[case] words: &str) {
        let found = history(&cursor(at), &server(), confirmed.map(slot).as_ref());
        assert!(found.as_ref().is_err_and(|why| why.contains(words)), "{found:?}");
    }

    // Holds P5 (docs/invariants.md).
    #[test]
    fn another_server_under_the_same_name_is_told_even_before_anything_was_read() {
        let others = [
            Incarnation { system: "8".to_owned(), ..incarnation() },
            Incarnation { timeline: 2, ..incarnation() },
            Incarnation { database: "other".to_owned(), ..incarnation() },
        ];
        for incarnation in others {
            let other = Server { incarnation, ..server() };
            for at in [0, 900] {
                assert!(history(&cursor(at), &other, Some(&slot(900))).is_err(), "{other:?}");
            }
        }
    }

    #[test]
    fn a_slot_that_lost_its_log_is_told() {
        let lost = Slot { wal_status: "lost".to_owned(), ..slot(900) };
        assert!(history(&cursor(900), &server(), Some(&lost)).is_err());
    }

    #[test]
    fn a_slot_of_another_plugin_or_database_cannot_be_read() {
        assert_eq!(usable(&slot(0), &server()), Ok(()));
        assert!(usable(&Slot { plugin: "wal2json".to_owned(), ..slot(0) }, &server()).is_err());
        assert!(usable(&Slot { database: "other".to_owned(), ..slot(0) }, &server()).is_err());
    }

    #[test]
    fn a_position_reads_as_postgresql_writes_it() {
        assert_eq!(lsn(0x1_0000_00AB), "1/AB");
    }
}
