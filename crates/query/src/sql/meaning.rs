//! Constructs that the engine reads differently from SQL: fixed in the text, or refused with what to write
//! instead.
//!
//! - `a IS [NOT] DISTINCT FROM b AND c`: the parser takes `b AND c` as the right side
//!   (apache/datafusion#23692, apache/datafusion-sqlparser-rs#2436). The comparison is put into parentheses.
//! - EXCEPT ALL and INTERSECT ALL do not count rows (apache/datafusion#12955, #12956). Refused.
//! - USING and NATURAL on a RIGHT or FULL join give the left side's column, which is null if only the right
//!   side has a row (apache/datafusion#22881). Refused.
//! - `1e300` is a double in SQL; the engine reads every number as a decimal, and none is that large. It is
//!   cast from its text.
//! - `1e3` becomes a decimal of scale -3, with which the engine rounds, sums and compares wrongly, or panics.
//!   It is written out.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, JoinConstraint, JoinOperator, Query, Select, SetExpr, SetOperator, SetQuantifier,
    Spanned, TableFactor, TableWithJoins, Value, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{at_span, is_keyword};
use crate::error::SqlFault;

/// The tokens with each `a IS [NOT] DISTINCT FROM b` in parentheses. Leaves unparsable tokens as they are,
/// because the parser then reports what is wrong.
pub(super) fn parenthesise(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let dialect = GenericDialect {};
    let binds = dialect.prec_value(Precedence::Is);
    // From the last to the first: a right side may contain others, which must already be in parentheses.
    let mut end = tokens.len();
    while let Some((place, begin)) = last_distinct_from(&tokens[..end]) {
        end = place;
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens[begin..].to_vec());
        if parser.parse_subexpr(binds).is_err() {
            continue;
        }
        let (left, right) = (left_side(&tokens[..place]), begin + parser.index());
        let span = tokens[place].span;
        let parenthesis = |token| TokenWithSpan { token, span };
        tokens.insert(right, parenthesis(Token::RParen));
        tokens.insert(left, parenthesis(Token::LParen));
        end += 1;
    }
    tokens
}

/// The start of the expression that ends with these tokens: after the last word or sign that binds less
/// tightly than IS.
fn left_side(tokens: &[TokenWithSpan]) -> usize {
    const LOOSER: &[Keyword] = &[
        Keyword::AND,
        Keyword::OR,
        Keyword::NOT,
        Keyword::WHERE,
        Keyword::ON,
        Keyword::HAVING,
        Keyword::QUALIFY,
        Keyword::SELECT,
        Keyword::DISTINCT,
        Keyword::ALL,
        Keyword::CASE,
        Keyword::WHEN,
        Keyword::THEN,
        Keyword::ELSE,
        Keyword::BY,
        Keyword::BETWEEN,
    ];
    let (mut depth, mut between) = (0_usize, false);
    for at in (0..tokens.len()).rev() {
        let token = &tokens[at];
        match &token.token {
            Token::RParen | Token::RBracket | Token::RBrace => depth += 1,
            Token::LParen | Token::LBracket | Token::LBrace if depth == 0 => return at + 1,
            Token::LParen | Token::LBracket | Token::LBrace => depth -= 1,
            Token::Comma | Token::SemiColon if depth == 0 => return at + 1,
            _ if is_keyword(token, Keyword::END) => depth += 1,
            _ if is_keyword(token, Keyword::CASE) && depth > 0 => depth -= 1,
            // The AND of a BETWEEN belongs to the expression before it.
            _ if depth == 0 && is_keyword(token, Keyword::AND) && closes_between(&tokens[..at]) => {
                between = true
            }
            _ if depth == 0 && between && is_keyword(token, Keyword::BETWEEN) => between = false,
            _ if depth == 0 && LOOSER.iter().any(|word| is_keyword(token, *word)) => return at + 1,
            _ => {}
        }
    }
    0
}

/// Whether the last BETWEEN of these tokens still needs its AND.
fn closes_between(tokens: &[TokenWithSpan]) -> bool {
    let mut depth = 0_usize;
    for token in tokens.iter().rev() {
        match &token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return false,
            Token::LParen => depth -= 1,
            _ if depth > 0 => {}
            _ if is_keyword(token, Keyword::BETWEEN) => return true,
            Token::Comma => return false,
            _ => {
                let others =
                    [Keyword::AND, Keyword::OR, Keyword::WHERE, Keyword::ON, Keyword::WHEN, Keyword::SELECT];
                if others.iter().any(|word| is_keyword(token, *word)) {
                    return false;
                }
            }
        }
    }
    false
}

/// The start of the last IS [NOT] DISTINCT FROM, and the token after it.
fn last_distinct_from(tokens: &[TokenWithSpan]) -> Option<(usize, usize)> {
    let solid: Vec<usize> =
        (0..tokens.len()).filter(|&at| !matches!(tokens[at].token, Token::Whitespace(_))).collect();
    let is = |at: usize, keyword| is_keyword(&tokens[solid[at]], keyword);
    (1..solid.len().saturating_sub(1)).rev().find_map(|at| {
        if !(is(at, Keyword::DISTINCT) && is(at + 1, Keyword::FROM)) {
            return None;
        }
        let not = is(at - 1, Keyword::NOT);
        let begin = if not { at.checked_sub(2)? } else { at - 1 };
        is(begin, Keyword::IS).then(|| (solid[begin], solid[at + 1] + 1))
    })
}

/// Finds constructs that the engine would compute differently from SQL.
#[derive(Default)]
pub(super) struct Meaning {
    pub(super) faults: Vec<SqlFault>,
}

impl Meaning {
    fn set(&mut self, body: &SetExpr) {
        let SetExpr::SetOperation { left, right, op, set_quantifier } = body else { return };
        self.set(left);
        self.set(right);
        let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
        if all && matches!(op, SetOperator::Except | SetOperator::Intersect | SetOperator::Minus) {
            let help = format!(
                "number the equal rows on both sides and leave ALL out: `SELECT k, row_number() OVER (PARTITION BY k ORDER BY k) AS n FROM a {op} SELECT k, row_number() OVER (PARTITION BY k ORDER BY k) FROM b`, in a subquery that selects `k`"
            );
            let message = format!("{op} ALL is not supported: the engine does not count equal rows");
            self.faults.push(at_span(right.span(), message, &help));
        }
    }

    fn joins(&mut self, tables: &TableWithJoins) {
        for join in &tables.joins {
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => ("RIGHT", c),
                JoinOperator::FullOuter(c) => ("FULL", c),
                _ => continue,
            };
            let (what, span) = match constraint {
                JoinConstraint::Using(columns) => (
                    format!("USING on a {kind} JOIN"),
                    columns.first().map_or_else(Span::empty, Spanned::span),
                ),
                JoinConstraint::Natural => (format!("NATURAL {kind} JOIN"), join.relation.span()),
                _ => continue,
            };
            let message = format!(
                "{what} is not supported: the engine gives null for the shared column of a row that only the right side has"
            );
            let help = "write `ON a.id = b.id` and select `coalesce(a.id, b.id) AS id`";
            self.faults.push(at_span(span, message, help));
        }
    }
}

impl VisitorMut for Meaning {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.set(&query.body);
        ControlFlow::Continue(())
    }
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for tables in &select.from {
            self.joins(tables);
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.joins(table_with_joins);
        }
        ControlFlow::Continue(())
    }
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Number(digits, _) = &mut value.value else { return ControlFlow::Continue(()) };
        match read(digits) {
            Number::AsWritten => {}
            Number::Whole(plain) => *digits = plain,
            Number::Double => {
                let text = Value::SingleQuotedString(digits.clone()).with_span(value.span);
                *expr = Expr::Cast {
                    kind: datafusion::sql::sqlparser::ast::CastKind::Cast,
                    expr: Box::new(Expr::Value(text)),
                    data_type: DataType::DoublePrecision,
                    array: false,
                    format: None,
                };
            }
        }
        ControlFlow::Continue(())
    }
}

/// How a number is passed to the engine.
enum Number {
    AsWritten,
    /// Without its exponent. A point at its end makes it a decimal instead of an integer.
    Whole(String),
    /// No decimal can hold it.
    Double,
}

/// A number as SQL writes it: `12`, `1.5`, `1e3`, `.5e-3`.
fn read(digits: &str) -> Number {
    let Some((mantissa, exponent)) = digits.split_once(['e', 'E']) else { return Number::AsWritten };
    let Ok(exponent) = exponent.parse::<i64>() else { return Number::AsWritten };
    if !(-MOST_ZEROS..=MOST_ZEROS).contains(&exponent) {
        return Number::Double;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = usize::try_from(exponent).ok().and_then(|exponent| exponent.checked_sub(fraction.len()));
    let Some(zeros) = zeros else { return Number::AsWritten };
    let plain = format!("{whole}{fraction}{}", "0".repeat(zeros));
    let plain = plain.trim_start_matches('0');
    match plain.len() {
        0 => Number::Whole("0.".to_owned()),
        1..=MOST_DIGITS => Number::Whole(format!("{plain}.")),
        _ => Number::Double,
    }
}
/// Precision of the widest decimal that a table stores.
const MOST_DIGITS: usize = 38;
/// Zeros of the largest power of ten within that precision.
const MOST_ZEROS: i64 = 37;
