//! Ad-hoc queries: `lakepulse query`, with each table at the latest or at an older version.
//!
//! `schema.table VERSION AS OF 3` and `schema.table TIMESTAMP AS OF '2026-01-31 12:00:00'` follow
//! a table name, each table for itself, the same table at two versions if wanted. The engine knows
//! no time travel, so the clause is taken out of the tokens and the table gets a name of its own,
//! under which that version is registered; without an alias it keeps its own name as one.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Ident, Statement, TableAlias, TableFactor, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use model::{TableName, Version};

use crate::error::{Doing, Error, Fault};
use crate::session;
use crate::sql::{is_keyword, one_select, tokens};

/// Stands between a table's name and its version; no plain identifier holds it.
const AT: char = '@';

/// Which version of a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    /// The newest.
    Latest,
    /// This one.
    Version(Version),
    /// The newest that was there at this time, milliseconds since the epoch.
    Time(i64),
}

/// A table a query reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reads {
    /// Its name in the lake.
    pub table: TableName,
    /// Which version.
    pub at: At,
    /// The table part under which the query names it.
    called: String,
}

/// A query, with its time travel taken out.
#[derive(Debug, Clone)]
pub struct Prepared {
    statement: Statement,
    /// What must be registered before it runs, each once.
    pub reads: Vec<Reads>,
}

/// The rows of a query.
#[derive(Debug)]
pub struct Rows {
    /// Their columns; also known when there are no rows.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

/// Reads a query text.
pub fn prepare(sql: &str) -> Result<Prepared, Error> {
    let (tokens, versions) = take_versions(tokens(sql)?)?;
    let mut statement = one_select(tokens)?;
    let _: ControlFlow<()> = statement.visit(&mut KeepNames);
    let engine = EngineStatement::Statement(Box::new(statement.clone()));
    let (references, _) = resolve_table_references(&engine, true).doing("find the tables of a query")?;
    let mut reads = Vec::new();
    for reference in references {
        let schema = reference.schema().unwrap_or_default();
        if schema == "information_schema" {
            continue;
        }
        let (table, at) = match reference.table().split_once(AT) {
            Some((table, at)) => (table, at.parse::<usize>().ok().and_then(|i| versions.get(i)).copied()),
            None => (reference.table(), Some(At::Latest)),
        };
        let name = format!("{schema}.{table}").parse::<TableName>();
        let (Ok(name), Some(at)) = (name, at) else {
            let fault = Fault::nowhere(format!("`{reference}` is no table"), "write `schema.table`");
            return Err(Error::Sql(fault));
        };
        reads.push(Reads { table: name, at, called: reference.table().to_owned() });
    }
    reads.sort();
    reads.dedup();
    Ok(Prepared { statement, reads })
}

/// Makes a version of a table known to the session that will run the query.
pub fn register(ctx: &SessionContext, reads: &Reads, table: Arc<dyn TableProvider>) -> Result<(), Error> {
    session::register_as(ctx, reads.table.schema(), &reads.called, table)
}

/// Runs the query. Every table of [`Prepared::reads`] must have been [`register`]ed.
pub async fn run(ctx: &SessionContext, query: &Prepared) -> Result<Rows, Error> {
    let statement = EngineStatement::Statement(Box::new(query.statement.clone()));
    let plan = ctx.state().statement_to_plan(statement).await.doing("plan the query")?;
    // Types are settled when a plan is analysed, so the columns are those of the plan that runs.
    let plan = ctx.state().create_physical_plan(&plan).await.doing("plan the query")?;
    let schema = plan.schema();
    let batches = collect(plan, ctx.task_ctx()).await.doing("run the query")?;
    Ok(Rows { schema, batches })
}

/// Takes `VERSION AS OF n` and `TIMESTAMP AS OF 't'` out of the tokens and marks the name before
/// each with its index in the returned list.
fn take_versions(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<At>), Error> {
    let solid: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(solid.len());
    let mut versions: Vec<At> = Vec::new();
    let mut rest = solid.as_slice();
    while let [first, tail @ ..] = rest {
        let clause = match tail {
            [second, third, value, ..]
                if is_keyword(second, Keyword::AS) && is_keyword(third, Keyword::OF) =>
            {
                (is_keyword(first, Keyword::VERSION) || is_keyword(first, Keyword::TIMESTAMP))
                    .then_some(value)
            }
            _ => None,
        };
        let Some(value) = clause else {
            kept.push(first.clone());
            rest = tail;
            continue;
        };
        let at = version(first, value)?;
        let index = versions.iter().position(|v| *v == at).unwrap_or_else(|| {
            versions.push(at);
            versions.len() - 1
        });
        let Some(TokenWithSpan { token: Token::Word(word), .. }) = kept.last_mut() else {
            return Err(Error::Sql(fault_at(first, "a version stands behind a table name")));
        };
        if word.quote_style.is_none() {
            word.value = word.value.to_lowercase();
        }
        word.value = format!("{}{AT}{index}", word.value);
        word.quote_style = Some('"');
        word.keyword = Keyword::NoKeyword;
        rest = &tail[3..];
    }
    Ok((kept, versions))
}

/// The version that a clause names.
fn version(clause: &TokenWithSpan, value: &TokenWithSpan) -> Result<At, Error> {
    match (&value.token, is_keyword(clause, Keyword::VERSION)) {
        (Token::Number(number, _), true) => number
            .parse()
            .map(|v| At::Version(Version(v)))
            .map_err(|_| Error::Sql(fault_at(value, "`VERSION AS OF` takes a whole number"))),
        (Token::SingleQuotedString(text), false) => time(text).map(At::Time).ok_or_else(|| {
            Error::Sql(fault_at(value, "`TIMESTAMP AS OF` takes a time such as '2026-01-31 12:00:00'"))
        }),
        (_, true) => Err(Error::Sql(fault_at(value, "`VERSION AS OF` takes a whole number"))),
        (_, false) => Err(Error::Sql(fault_at(value, "`TIMESTAMP AS OF` takes a time in quotes"))),
    }
}

/// Milliseconds since the epoch of a date, a time in UTC or a time with its zone.
fn time(text: &str) -> Option<i64> {
    arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text)
        .ok()
        .map(|ns| ns.div_euclid(1_000_000))
}

fn fault_at(token: &TokenWithSpan, message: &str) -> Fault {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let place = token.span.start;
    let help = "as in `FROM gold.t VERSION AS OF 3`".to_owned();
    Fault { line: number(place.line), column: number(place.column), message: message.to_owned(), help }
}

/// Gives a marked table without an alias its own name as one, so that `t.column` still finds it.
struct KeepNames;
impl VisitorMut for KeepNames {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias: alias @ None, .. } = factor
            && let Some(last) = name.0.last().and_then(|p| p.as_ident())
            && let Some((own, _)) = last.value.split_once(AT)
        {
            *alias = Some(TableAlias { explicit: true, name: Ident::new(own), columns: vec![], at: None });
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
