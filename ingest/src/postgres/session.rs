//! A connection to the database for SQL and replication commands, with values as text.
//!
//! Everything uses the replication protocol, whose sessions also accept plain SQL. So there is one client and
//! one way to log in, and a snapshot's rows have the same text form as the stream's.

use std::fmt;
use std::time::Duration;

use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, TlsConfig};

use crate::Error;

/// Makes the text form of values independent of the server's and the role's settings.
const OPTIONS: &str = "-c datestyle=ISO,YMD -c intervalstyle=postgres -c timezone=UTC \
    -c extra_float_digits=3 -c bytea_output=hex -c standard_conforming_strings=on -c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0";
/// Messages that are read ahead; the server waits when the buffer is full.
const BUFFER: usize = 2_048;
/// How often the server is told our position.
const FEEDBACK: Duration = Duration::from_secs(1);
/// How often an idle stream sends a sign of life.
const WAKEUP: Duration = Duration::from_secs(5);

/// Address and login. Its `Debug` shows no password.
#[derive(Clone)]
#[allow(missing_docs, reason = "the parts of an address")]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    password: String,
}
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}
impl Address {
    /// Parses `postgres://user:password@host:port/database`. The error never quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| format!("its address is no URL: {error}"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err("its address does not begin with `postgres://`".to_owned());
        }
        let plain = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| "its address has a part that is no UTF-8".to_owned())
        };
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("sslmode", "disable" | "allow" | "prefer") => {}
                ("sslmode", _) => {
                    return Err("TLS to PostgreSQL is not supported: reach it over a private network or a \
                                tunnel, and leave `sslmode` out"
                        .to_owned());
                }
                _ => return Err(format!("its address has the parameter `{name}`, which is not known")),
            }
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("its address names no host")?;
        let user = plain(url.username())?;
        let database = plain(url.path().trim_start_matches('/'))?;
        if user.is_empty() || database.is_empty() {
            return Err("its address names no user or no database".to_owned());
        }
        let password = plain(url.password().unwrap_or_default())?;
        Ok(Self { host: host.to_owned(), port: url.port().unwrap_or(5432), database, user, password })
    }

    /// Host, port, user, password and database, for another client.
    pub fn login(self) -> (String, u16, String, String, String) {
        (self.host, self.port, self.user, self.password, self.database)
    }

    fn config(&self, source: &str, slot: &str, publication: &str) -> ReplicationConfig {
        let (host, user, password) = (self.host.clone(), self.user.clone(), self.password.clone());
        ReplicationConfig::new(host, user, password, self.database.clone(), slot, publication)
            .with_port(self.port)
            .with_tls(TlsConfig::disabled())
            .with_options(OPTIONS)
            .with_application_name(format!("lakepulse {source}"))
            .with_buffer_size(BUFFER)
            .with_status_interval(FEEDBACK)
            .with_wakeup_interval(WAKEUP)
    }
}

/// A row of texts, in the order of the columns. `None`: null.
pub type TextRow = Vec<Option<bytes::Bytes>>;

/// A session for SQL.
pub struct Session {
    client: ReplicationClient,
    source: String,
}
impl Session {
    /// Logs in.
    pub async fn open(address: &Address, source: &str) -> Result<Self, Error> {
        let config = address.config(source, "none", "none");
        let client = ReplicationClient::connect_gated(config).await;
        let client = client.map_err(|error| failed(source, error))?;
        let mut session = Self { client, source: source.to_owned() };
        match session.rows("SELECT 1").await {
            // The login fails with "insufficient privilege": the role lacks the attribute.
            Err(Error::Postgres { source: error, .. }) if error.to_string().contains("SQLSTATE 42501") => {
                Err(Error::Refused {
                    name: source.to_owned(),
                    why: format!("user `{}` may not replicate", address.user),
                    help: format!("run `ALTER ROLE {} REPLICATION` as superuser", quoted(&address.user)),
                })
            }
            answer => answer.map(|_| session),
        }
    }
    /// Runs one statement and returns its rows.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, Error> {
        self.client.simple_query(sql).await.map_err(|error| failed(&self.source, error))
    }
    /// Runs one statement and returns its rows as text, with null as empty text.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Error> {
        let text = |cell: Option<bytes::Bytes>| {
            cell.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        let rows = self.rows(sql).await?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }
    /// Runs one statement and returns the first column of the first row.
    pub async fn text(&mut self, sql: &str) -> Result<Option<String>, Error> {
        Ok(self.texts(sql).await?.into_iter().next().and_then(|row| row.into_iter().next()))
    }
    /// System identifier, timeline, and the end of the log.
    pub async fn identify(&mut self) -> Result<pgwire_replication::IdentifySystem, Error> {
        self.client.identify_system().await.map_err(|error| failed(&self.source, error))
    }
}

/// The stream of changes from `from` on. Returns once we have acquired the slot.
pub async fn stream(
    address: &Address,
    source: &str,
    slot: &str,
    publication: &str,
    from: Lsn,
) -> Result<ReplicationClient, Error> {
    let config = address.config(source, slot, publication).with_start_lsn(from);
    let client = ReplicationClient::connect(config).await;
    let mut client = client.map_err(|error| failed(source, error))?;
    client.wait_started().await.map_err(|error| failed(source, error))?;
    Ok(client)
}

/// Converts an error of the client.
pub fn failed(source: &str, error: PgWireError) -> Error {
    Error::Postgres { name: source.to_owned(), source: Box::new(error) }
}

/// A name quoted for SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text quoted for SQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shows_no_password() {
        let address = Address::parse("postgres://reader:s%40cret@db.example:6543/shop").expect("an address");
        assert_eq!((&*address.user, &*address.password, address.port), ("reader", "s@cret", 6543));
        assert_eq!(format!("{address:?}"), "db.example:6543/shop");
    }

    #[test]
    fn an_address_that_promises_what_is_not_done_is_refused() {
        for bad in [
            "mysql://a@b/c",
            "postgres://host/db",
            "postgres://user@host",
            "postgres://user:pw@host/db?sslmode=require",
            "postgres://user:pw@host/db?channel_binding=require",
        ] {
            let why = Address::parse(bad).expect_err(bad);
            assert!(!why.contains("pw"), "{why}");
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
