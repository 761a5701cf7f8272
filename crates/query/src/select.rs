//! Ad-hoc queries for `lakepulse query`, with each table at its latest or an older version.
//!
//! `schema.table VERSION AS OF 3` and `schema.table TIMESTAMP AS OF '2026-01-31 12:00:00'` apply to a single
//! table name, so a query may use one table at two versions. The engine has no time travel. So the clause is
//! removed from the tokens, the syntax tree tells which table was before it, and the table gets a special
//! name under which that version is registered. Without an alias, its original name becomes its alias.
//!
//! sqlparser's own `TableVersion` is not used: the generic dialect, which parses all texts of a project, has
//! no such clause, and the dialects that have it parse other texts differently (a test names some).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Statement, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use model::{TableName, Version};

use crate::error::{Doing, Error, SqlFault};
use crate::session;
use crate::sql::{at_span, is_keyword, one_select, tokens};

/// The version of a table to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    /// The newest.
    Latest,
    /// This version.
    Version(Version),
    /// The newest version at this time, in milliseconds since the epoch.
    Time(i64),
}

/// A table that a query reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reads {
    /// Its name in the lake.
    pub table: TableName,
    /// Which version.
    pub at: At,
    /// The table part of its name in the query.
    called: String,
}

/// A query without its time travel clauses.
#[derive(Debug, Clone)]
pub struct Prepared {
    statement: Statement,
    /// Tables to register before it runs, each once.
    pub reads: Vec<Reads>,
}

/// The rows of a query.
#[derive(Debug)]
pub struct Rows {
    /// The columns; also known if there are no rows.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// Parses a query text.
pub fn prepare(sql: &str) -> Result<Prepared, Error> {
    let (tokens, clauses) = take_clauses(tokens(sql)?)?;
    let mut statement = one_select(tokens)?;
    let mut travel = Travel { clauses, versions: HashMap::new() };
    let _: ControlFlow<()> = statement.visit(&mut travel);
    if let Some(clause) = travel.clauses.first() {
        return Err(Error::Sql(fault_at(clause.place, "a version stands behind a table name".to_owned())));
    }
    let engine = EngineStatement::Statement(Box::new(statement.clone()));
    let (references, _) = resolve_table_references(&engine, true).doing("find the tables of a query")?;
    let mut reads = Vec::new();
    for reference in references {
        let schema = reference.schema().unwrap_or_default();
        if schema == "information_schema" {
            continue;
        }
        let called = reference.table();
        let (table, at) = travel.versions.get(called).map_or((called, At::Latest), |(t, at)| (t, *at));
        let Ok(table) = format!("{schema}.{table}").parse::<TableName>() else {
            let fault = SqlFault::nowhere(format!("`{reference}` is no table"), "write `schema.table`");
            return Err(Error::Sql(fault));
        };
        reads.push(Reads { table, at, called: called.to_owned() });
    }
    reads.sort();
    reads.dedup();
    Ok(Prepared { statement, reads })
}

/// Registers a version of a table in the session that will run the query.
pub fn register(ctx: &SessionContext, reads: &Reads, table: Arc<dyn TableProvider>) -> Result<(), Error> {
    session::register_as(ctx, reads.table.schema(), &reads.called, table)
}

/// Runs the query. Every table of [`Prepared::reads`] must have been [`register`]ed.
pub async fn run(ctx: &SessionContext, query: &Prepared) -> Result<Rows, Error> {
    let statement = EngineStatement::Statement(Box::new(query.statement.clone()));
    let plan = ctx.state().statement_to_plan(statement).await.doing("plan the query")?;
    // Types are only settled when a plan is analysed, so take the columns from the physical plan.
    let plan = ctx.state().create_physical_plan(&plan).await.doing("plan the query")?;
    let schema = plan.schema();
    let batches = collect(plan, ctx.task_ctx()).await.doing("run the query")?;
    Ok(Rows { schema, batches })
}

/// A clause that was removed from the tokens.
struct Clause {
    /// The token before it: the last part of a table's name, unless the clause is misplaced.
    behind: Span,
    /// The clause itself.
    place: Span,
    at: At,
}

/// Removes `VERSION AS OF n` and `TIMESTAMP AS OF 't'` from the tokens. Only the syntax tree can tell which
/// of them follow a table name.
fn take_clauses(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<Clause>), Error> {
    let solid: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(solid.len());
    let mut clauses = Vec::new();
    let mut rest = solid.as_slice();
    while let [first, tail @ ..] = rest {
        match clause(rest) {
            // A column `version` with the alias `of`.
            Some(Err(_)) if !ends_with_name(&kept) => {}
            Some(at) => {
                let behind = kept.last().map_or_else(Span::empty, |token| token.span);
                clauses.push(Clause { behind, place: first.span, at: at? });
                rest = &rest[CLAUSE..];
                continue;
            }
            None => {}
        }
        kept.push(first.clone());
        rest = tail;
    }
    Ok((kept, clauses))
}

/// Number of tokens in a clause.
const CLAUSE: usize = 4;

/// The version in the clause at the beginning of the tokens. `None`: there is no clause.
fn clause(tokens: &[TokenWithSpan]) -> Option<Result<At, Error>> {
    let [kind, as_, of, value] = tokens.get(..CLAUSE)? else { return None };
    let of_version = is_keyword(kind, Keyword::VERSION);
    let begins = of_version || is_keyword(kind, Keyword::TIMESTAMP);
    if !(begins && is_keyword(as_, Keyword::AS) && is_keyword(of, Keyword::OF)) {
        return None;
    }
    let (at, needed) = match (&value.token, of_version) {
        (Token::Number(number, _), true) => {
            (number.parse().ok().map(Version).map(At::Version), "a whole number")
        }
        (Token::SingleQuotedString(text), false) => {
            (time(text).map(At::Time), "a time such as '2026-01-31 12:00:00'")
        }
        (_, true) => (None, "a whole number"),
        (_, false) => (None, "a time in quotes"),
    };
    let kind = if of_version { "VERSION" } else { "TIMESTAMP" };
    Some(at.ok_or_else(|| Error::Sql(fault_at(value.span, format!("`{kind} AS OF` takes {needed}")))))
}

/// Whether the last tokens are `schema.table`.
fn ends_with_name(tokens: &[TokenWithSpan]) -> bool {
    let last = tokens.iter().rev().map(|token| &token.token).take(3).collect::<Vec<_>>();
    matches!(*last, [Token::Word(_), Token::Period, Token::Word(_)])
}

/// Milliseconds since the epoch of a date, a time in UTC or a time with its zone.
fn time(text: &str) -> Option<i64> {
    arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text)
        .ok()
        .map(|ns| ns.div_euclid(1_000_000))
}

fn fault_at(place: Span, message: String) -> SqlFault {
    at_span(place, message, "as in `FROM gold.t VERSION AS OF 3`")
}

/// Gives each table before a clause a special name. A table without an alias gets its original name as alias,
/// so that `t.column` still works.
struct Travel {
    /// Clauses whose table has not been found yet.
    clauses: Vec<Clause>,
    /// The special names, each with its table part and version.
    versions: HashMap<String, (String, At)>,
}
impl Travel {
    /// The clause after a name `schema.table`.
    fn take(&mut self, name: &ObjectName) -> Option<(Ident, At)> {
        let [.., ObjectNamePart::Identifier(_), ObjectNamePart::Identifier(own)] = name.0.as_slice() else {
            return None;
        };
        let found = self.clauses.iter().position(|clause| clause.behind == own.span)?;
        Some((own.clone(), self.clauses.remove(found).at))
    }
}
impl VisitorMut for Travel {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let Some((own, at)) = self.take(name)
        {
            let table = if own.quote_style.is_none() { own.value.to_lowercase() } else { own.value.clone() };
            let called = match at {
                At::Latest => table.clone(),
                At::Version(version) => format!("{table} version as of {}", version.0),
                At::Time(ms) => format!("{table} timestamp as of {ms}"),
            };
            if let Some(last) = name.0.last_mut() {
                *last = ObjectNamePart::Identifier(Ident::with_quote_and_span('"', own.span, called.clone()));
            }
            alias.get_or_insert(TableAlias { explicit: true, name: own, columns: vec![], at: None });
            self.versions.insert(called, (table, at));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
