//! One SELECT of a user: parsed, checked and rewritten before the engine sees it.
//!
//! Rewrites apply to the syntax tree, never to the text:
//! - `changes(bronze.x)` becomes the table [`changes_table`]`(bronze.x)`. It is not a table function of the
//!   engine, because all its scans are named `changes()`, so columns could not be qualified by the table, and
//!   it would have to keep the tables that the session keeps anyway;
//! - `now()`, `current_timestamp`, `current_date` mean the pinned time. They become `as_of()` in the tree and
//!   literals in [`Parsed::at`], so no plan ever reads a clock.
//!
//! [`Parsed::normalised`] identifies the text by its tokens, so layout, comments, letter case of keywords and
//! a newer engine do not change it.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Spanned, Statement, TableFactor,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};
use model::{ClockMs, TableName};

use crate::error::{Error, SqlFault};
use crate::functions;

mod meaning;
use meaning::Meaning;

/// The schema under which the rows of `changes(...)` are registered.
const CHANGES: &str = "changes";

/// A SELECT that can be planned.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The tree, with `changes(x)` replaced and clocks replaced by calls of `as_of()`. Plan the result of
    /// [`Parsed::at`], not this.
    pub statement: Statement,
    /// Tables that are read, each once, in order of name; without the one in `changes()`.
    pub tables: Vec<TableName>,
    /// The table in `changes()`, if there is one.
    pub changes: Option<TableName>,
    /// The tokens of the text with unquoted words in lower case; the input of fingerprints.
    pub normalised: String,
    /// Whether the result depends on the pinned time.
    pub uses_as_of: bool,
    /// Constructs whose meaning may differ from what the author expects.
    pub notices: Vec<SqlFault>,
}
impl Parsed {
    /// The tree with the pinned time as literals.
    pub fn at(&self, as_of: ClockMs) -> Statement {
        let mut statement = self.statement.clone();
        let _: ControlFlow<()> = statement.visit(&mut ClockReplacer { as_of });
        statement
    }
}

/// The table that stands for `changes(bronze)` in a plan. Register the changes under this name.
pub fn changes_table(bronze: &TableName) -> TableName {
    format!("{CHANGES}.{}", bronze.table()).parse().expect("a table part of a table name is one again")
}

/// Parses one SELECT (or `WITH ... SELECT`, or `VALUES`).
pub fn parse(sql: &str) -> Result<Parsed, Error> {
    let tokens = tokens(sql)?;
    let normalised = normalise(&tokens);
    let mut statement = one_select(tokens)?;
    let mut rewrite = Rewrite::default();
    let _: ControlFlow<()> = statement.visit(&mut rewrite);
    if let Some(fault) = rewrite.faults.into_iter().next() {
        return Err(Error::Sql(fault));
    }
    let standing_in = rewrite.changes.as_ref().map(changes_table);
    let tables = tables(&statement, &rewrite.places)?
        .into_iter()
        .filter(|t| Some(t) != standing_in.as_ref())
        .collect();
    Ok(Parsed {
        statement,
        tables,
        changes: rewrite.changes,
        normalised,
        uses_as_of: rewrite.uses_as_of,
        notices: rewrite.notices,
    })
}

/// The tokens of a text, with their positions.
pub(crate) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, Error> {
    Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|e| {
        let (line, column) = (usize_of(e.location.line), usize_of(e.location.column));
        Error::Sql(SqlFault { line, column, message: e.message, help: String::new() })
    })
}

/// Parses tokens as exactly one query.
pub(crate) fn one_select(tokens: Vec<TokenWithSpan>) -> Result<Statement, Error> {
    let mut statements = Parser::new(&GenericDialect {})
        .with_tokens_with_locations(meaning::parenthesise(tokens))
        .parse_statements()
        .map_err(|e| Error::Sql(syntax(&e)))?;
    let statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => statement,
        (None, _) => return Err(Error::Sql(SqlFault::nowhere("there is no statement", "write one SELECT"))),
        (Some(_), false) => {
            return Err(Error::Sql(SqlFault::nowhere(
                "there is more than one statement",
                "write one SELECT",
            )));
        }
    };
    let Statement::Query(_) = statement else {
        return Err(Error::Sql(SqlFault::nowhere("the statement is no SELECT", "write one SELECT")));
    };
    meant(statement)
}

/// Parses a text as exactly one expression.
pub(crate) fn expression(text: &str) -> Result<Expr, Error> {
    let tokens = meaning::parenthesise(tokens(text)?);
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(|e| Error::Sql(syntax(&e)))?;
    match parser.peek_token() {
        TokenWithSpan { token: Token::EOF, .. } => meant(expr),
        other => {
            let message = format!("`{}` stands behind the expression", other.token);
            Err(Error::Sql(at_span(other.span, message, "write one SQL expression")))
        }
    }
}

/// A tree that the engine computes as SQL means it, or the faults that prevent this.
fn meant<T: VisitMut>(mut tree: T) -> Result<T, Error> {
    let mut meaning = Meaning::default();
    let _: ControlFlow<()> = tree.visit(&mut meaning);
    match meaning.faults.into_iter().next() {
        Some(fault) => Err(Error::Sql(fault)),
        None => Ok(tree),
    }
}

/// Names of the tables that a tree reads, without common table expressions. `places` has the position of each
/// name.
fn tables(statement: &Statement, places: &[(String, Span)]) -> Result<Vec<TableName>, Error> {
    let statement = EngineStatement::Statement(Box::new(statement.clone()));
    let (references, _) = resolve_table_references(&statement, true)
        .map_err(|e| Error::Sql(SqlFault::nowhere(e.strip_backtrace(), "")))?;
    let mut names = Vec::with_capacity(references.len());
    for reference in &references {
        names.push(table_name(reference).map_err(|help| {
            let message = format!("`{reference}` is no table");
            let place = places.iter().find(|(name, _)| *name == reference.to_string());
            Error::Sql(match place {
                Some((_, span)) => at_span(*span, message, help),
                None => SqlFault::nowhere(message, help),
            })
        })?);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// A reference in a query as a table name, or what to write instead.
fn table_name(reference: &TableReference) -> Result<TableName, &'static str> {
    match reference {
        TableReference::Partial { schema, table } => {
            format!("{schema}.{table}").parse().map_err(|e: model::BadName| e.rule)
        }
        TableReference::Bare { .. } => Err("write `schema.table`"),
        TableReference::Full { .. } => Err("write `schema.table`, without a catalog"),
    }
}

/// Words in lower case unless quoted, without layout, comments and closing semicolon.
fn normalise(tokens: &[TokenWithSpan]) -> String {
    let mut words: Vec<String> = Vec::with_capacity(tokens.len());
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::Word(word) if word.quote_style.is_none() => words.push(word.value.to_lowercase()),
            other => words.push(other.to_string()),
        }
    }
    while words.last().is_some_and(|w| w == ";") {
        words.pop();
    }
    words.join(" ")
}

/// A parser error as a fault. sqlparser gives the position only as text.
fn syntax(error: &ParserError) -> SqlFault {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the text is nested too deep",
    };
    let Some((message, place)) = text.split_once(" at Line: ") else { return SqlFault::nowhere(text, "") };
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let (line, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    SqlFault { line, column, message: message.to_owned(), help: String::new() }
}

pub(crate) fn at_span(span: Span, message: String, help: &str) -> SqlFault {
    let (line, column) = (usize_of(span.start.line), usize_of(span.start.column));
    SqlFault { line, column, message, help: help.to_owned() }
}

fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The name of a function in lower case, as it is looked up.
fn function_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    Some(ident.value.to_lowercase())
}

/// Replaces `changes()` and clocks, and finds what a model may not contain.
#[derive(Default)]
struct Rewrite {
    changes: Option<TableName>,
    uses_as_of: bool,
    notices: Vec<SqlFault>,
    faults: Vec<SqlFault>,
    /// The position of each table name, by the name that the engine looks up.
    places: Vec<(String, Span)>,
}
impl Rewrite {
    /// The table in `changes(schema.table)`.
    fn changed_table(args: &[FunctionArg]) -> Option<TableName> {
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts)))] = args else {
            return None;
        };
        let text = parts.iter().map(|p| match p.quote_style {
            Some(_) => p.value.clone(),
            None => p.value.to_lowercase(),
        });
        text.collect::<Vec<_>>().join(".").parse().ok()
    }
}
impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(call) = args else {
            let parts = name.0.iter().filter_map(|p| p.as_ident()).map(|i| match i.quote_style {
                Some(_) => i.value.clone(),
                None => i.value.to_lowercase(),
            });
            self.places.push((parts.collect::<Vec<_>>().join("."), name.span()));
            let schema = name.0.first().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase());
            if name.0.len() == 2 && schema.as_deref() == Some(CHANGES) {
                let help = "write `changes(bronze.table)`";
                self.faults.push(at_span(name.span(), "`changes` is no schema".to_owned(), help));
            }
            return ControlFlow::Continue(());
        };
        if function_name(name).as_deref() != Some(CHANGES) {
            let message = format!("`{name}(...)` is no table function of LakePulse");
            self.faults.push(at_span(name.span(), message, "the only one is `changes(schema.table)`"));
            return ControlFlow::Continue(());
        }
        let span = name.span();
        match (Self::changed_table(&call.args), &self.changes) {
            (None, _) => {
                let message = "`changes` takes one table".to_owned();
                self.faults.push(at_span(span, message, "write `changes(bronze.table)`"));
            }
            (Some(table), Some(other)) if *other != table => {
                let message = format!("`changes({table})` stands beside `changes({other})`");
                self.faults.push(at_span(span, message, "a model reads the changes of one table"));
            }
            (Some(table), _) => {
                let stand_in = changes_table(&table);
                *name = ObjectName::from(vec![stand_in.schema().into(), stand_in.table().into()]);
                *args = None;
                self.changes = Some(table);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = function_name(&function.name) else { return ControlFlow::Continue(()) };
        let span = function.name.span();
        if let Some(why) = functions::refusal(&name) {
            let help = "take the value from a column, or `as_of()` for the time of the refresh";
            self.faults.push(at_span(span, why, help));
        } else if functions::CLOCKS.contains(&name.as_str()) {
            let bare = match &function.args {
                FunctionArguments::None => true,
                FunctionArguments::List(list) => list.args.is_empty(),
                FunctionArguments::Subquery(_) => false,
            };
            if !bare {
                let help = "it means the pinned time of the refresh";
                self.faults.push(at_span(span, format!("`{name}` takes no argument"), help));
            }
            self.uses_as_of = true;
            if name != "as_of" {
                let message = format!("`{name}` means the pinned time of the refresh, as `as_of()` does");
                self.notices.push(at_span(span, message, "set `tick` to say how often it moves"));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Replaces calls of the clock by literals.
struct ClockReplacer {
    as_of: ClockMs,
}
impl ClockReplacer {
    fn literal(&self, date: bool) -> Option<Expr> {
        let at = chrono::DateTime::from_timestamp_millis(self.as_of.0)?;
        let text = if date {
            format!("arrow_cast('{}', 'Date32')", at.format("%Y-%m-%d"))
        } else {
            let at = at.format("%Y-%m-%dT%H:%M:%S%.6fZ");
            format!("arrow_cast('{at}', 'Timestamp(Microsecond, Some(\"UTC\"))')")
        };
        Parser::new(&GenericDialect {}).try_with_sql(&text).ok()?.parse_expr().ok()
    }
}
impl VisitorMut for ClockReplacer {
    type Break = ();

    // After the children: the literal is itself a function call and need not be visited.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = &*expr else { return ControlFlow::Continue(()) };
        let Some(name) = function_name(&function.name) else { return ControlFlow::Continue(()) };
        if functions::CLOCKS.contains(&name.as_str())
            && let Some(literal) = self.literal(functions::DATES.contains(&name.as_str()))
        {
            *expr = literal;
        }
        ControlFlow::Continue(())
    }
}

/// Whether the token is this unquoted keyword.
pub(crate) fn is_keyword(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

#[cfg(test)]
mod tests;
