//! `expect:` of a header: rules on rows and on the table.

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use model::TableName;
use query::expectations::Condition;

use super::Context;
use super::header::{Draft, explain};
use super::models::PlannedModels;
use crate::fault::did_you_mean;
use crate::shape::object::Object;
use crate::{Expectation, Kind, Location, Measure, Otherwise};

/// The rules of a header. Their SQL is not parsed yet.
pub(super) fn read(cx: &mut Context<'_>, draft: &Draft) -> (Vec<Expectation>, Vec<Measure>) {
    let (mut expectations, mut measures) = (Vec::new(), Vec::new());
    let Some(rules) = draft.header.object("expect") else { return (expectations, measures) };
    for (name, line, rule) in rules.objects() {
        let otherwise = match rule.text("else") {
            Some("drop") => Otherwise::Drop,
            Some("quarantine") => Otherwise::Quarantine,
            Some("fail") => Otherwise::Fail,
            _ => Otherwise::Warn,
        };
        let reader = RuleReader { draft, name, line, rule, otherwise };
        match reader.read(cx) {
            Some(Rule::Row(expectation)) => expectations.push(expectation),
            Some(Rule::Table(measure)) => measures.push(measure),
            None => {}
        }
    }
    (expectations, measures)
}

enum Rule {
    Row(Expectation),
    Table(Measure),
}

struct RuleReader<'a> {
    draft: &'a Draft,
    name: &'a str,
    line: usize,
    rule: &'a Object,
    otherwise: Otherwise,
}
impl RuleReader<'_> {
    fn fault(&self, cx: &mut Context<'_>, key: &str, message: impl Into<String>, help: &str) {
        let line = self.rule.entries.get(key).map_or(self.line, |entry| entry.line);
        cx.faults.add(&self.draft.at(line), message, help);
    }

    fn read(&self, cx: &mut Context<'_>) -> Option<Rule> {
        const CHECKS: [&str; 6] =
            ["valid", "measure", "not_null", "unique", "accepted_values", "relationships"];
        let before = cx.faults.len();
        let stated: Vec<&str> = CHECKS.into_iter().filter(|check| self.rule.has(check)).collect();
        let name = self.name;
        let &[check] = stated.as_slice() else {
            let message = format!("rule `{name}` states {} checks", stated.len());
            let help =
                "state one of `valid`, `measure`, `not_null`, `unique`, `accepted_values`, `relationships`";
            self.fault(cx, "", message, help);
            return None;
        };
        for bound in ["at_least", "at_most"] {
            if check != "measure" && self.rule.has(bound) {
                self.fault(
                    cx,
                    bound,
                    format!("`{bound}` of rule `{name}` bounds nothing"),
                    "it goes with `measure`",
                );
            }
        }
        let rule = match check {
            "valid" => self.row(self.rule.text(check)?.to_owned()),
            "not_null" => {
                let columns = self.rule.texts(check);
                let tests: Vec<String> =
                    columns.iter().map(|c| format!("{} IS NOT NULL", quoted(c))).collect();
                self.row(tests.join(" AND "))
            }
            "accepted_values" => {
                let accepted = self.rule.object(check)?;
                let column = quoted(accepted.text("column")?);
                let texts = accepted.texts("values");
                if texts.is_empty() {
                    self.fault(
                        cx,
                        check,
                        format!("rule `{name}` accepts no value"),
                        "list them under `values`",
                    );
                    return None;
                }
                let values: Vec<String> =
                    texts.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
                self.row(format!("{column} IS NULL OR CAST({column} AS VARCHAR) IN ({})", values.join(", ")))
            }
            "measure" => {
                let (least, most) = (self.rule.number("at_least"), self.rule.number("at_most"));
                if least.is_none() && most.is_none() {
                    let help = "give `at_least`, `at_most`, or both";
                    self.fault(cx, check, format!("measure `{name}` has no bounds"), help);
                }
                if let (Some(least), Some(most)) = (least, most)
                    && least > most
                {
                    let message = format!("measure `{name}` has to be at least {least} and at most {most}");
                    self.fault(cx, "at_most", message, "swap the bounds");
                }
                self.measure(self.rule.text(check)?.to_owned(), least, most)
            }
            "unique" => {
                let columns: Vec<String> = self.rule.texts(check).iter().map(|c| quoted(c)).collect();
                let expr = match columns.as_slice() {
                    [one] => format!("count({one}) - count(DISTINCT {one})"),
                    many => format!("count(*) - count(DISTINCT struct({}))", many.join(", ")),
                };
                self.measure(expr, None, Some(0.0))
            }
            _ => self.relationship(self.rule.object(check)?)?,
        };
        self.check_otherwise(cx, &rule);
        (cx.faults.len() == before).then_some(rule)
    }

    fn row(&self, predicate: String) -> Rule {
        Rule::Row(Expectation { name: self.name.to_owned(), predicate, otherwise: self.otherwise })
    }

    fn measure(&self, expr: String, at_least: Option<f64>, at_most: Option<f64>) -> Rule {
        let query = format!("SELECT {expr} AS measure FROM {}", self.draft.name);
        let (name, otherwise) = (self.name.to_owned(), self.otherwise);
        Rule::Table(Measure {
            name,
            expr,
            query,
            inputs: Vec::new(),
            related: None,
            at_least,
            at_most,
            otherwise,
        })
    }

    /// Counts rows with a value that the other table lacks.
    fn relationship(&self, related: &Object) -> Option<Rule> {
        let column = related.text("column")?;
        let to: TableName = related.text("to")?.parse().ok()?;
        let field = related.text("field").unwrap_or(column);
        let from = &self.draft.name;
        let columns =
            crate::Related { from: from.clone(), column: column.to_owned(), field: field.to_owned() };
        let (column, field) = (quoted(column), quoted(field));
        let query = format!(
            "SELECT count(*) AS measure FROM {from} AS a LEFT ANTI JOIN {to} AS b ON a.{column} = b.{field} \
             WHERE a.{column} IS NOT NULL"
        );
        let expr = format!("count of {column} that {to}.{field} lacks");
        Some(Rule::Table(Measure {
            name: self.name.to_owned(),
            expr,
            query,
            inputs: vec![to],
            related: Some(columns),
            at_least: None,
            at_most: Some(0.0),
            otherwise: self.otherwise,
        }))
    }

    /// Only silver rows can be dropped or quarantined.
    fn check_otherwise(&self, cx: &mut Context<'_>, rule: &Rule) {
        if !matches!(self.otherwise, Otherwise::Drop | Otherwise::Quarantine) {
            return;
        }
        let word = self.otherwise.as_str();
        let name = self.name;
        if matches!(rule, Rule::Table(_)) {
            let message = format!("rule `{name}` is about the table, so no row can be `{word}`");
            self.fault(cx, "else", message, "use `else: warn` or `fail`");
        } else if self.draft.kind == Kind::Table {
            let message = format!("rule `{name}` would `{word}` rows of a gold table");
            let help = "gold is equal to its SQL: put the condition there, or use `else: warn` or `fail`";
            self.fault(cx, "else", message, help);
        }
    }
}

/// Makes `accepted_values` compare values, now that the types of the columns are known. For strings, flags and
/// integers the text is the value, and the predicate stays as it is.
pub(super) fn type_values(cx: &mut Context<'_>, draft: &Draft, model: &mut crate::Model, schema: &Schema) {
    let Some(rules) = draft.header.object("expect") else { return };
    for (name, line, rule) in rules.objects() {
        let Some(accepted) = rule.object("accepted_values") else { continue };
        let field = accepted.text("column").and_then(|column| schema.field_with_name(column).ok());
        let (Some(field), Some(rule)) = (field, model.expectations.iter_mut().find(|r| r.name == *name))
        else {
            continue;
        };
        let mut values = Vec::new();
        for text in accepted.texts("values") {
            match accepted_value(&text, field.data_type()) {
                Ok(value) => values.extend(value),
                Err(wanted) => {
                    let message = format!("rule `{name}` accepts `{text}`, which is no {wanted}");
                    let help = format!("column `{}` is of type {}", field.name(), field.data_type());
                    cx.faults.add(&draft.at(line), message, help);
                }
            }
        }
        if !values.is_empty() {
            let column = quoted(field.name());
            rule.predicate = format!("{column} IS NULL OR {column} IN ({})", values.join(", "));
        }
    }
}

/// A literal of a column's type. `None`: the text itself works. An error says what the text should be.
fn accepted_value(text: &str, data_type: &DataType) -> Result<Option<String>, String> {
    let canonical = |is: bool, wanted: &str| if is { Ok(None) } else { Err(wanted.to_owned()) };
    let literal = |sql: &str| format!("CAST('{}' AS {sql})", text.replace('\'', "''"));
    match data_type {
        DataType::Utf8 => Ok(None),
        DataType::Boolean => canonical(matches!(text, "true" | "false"), "`true` or `false`"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => canonical(
            text.parse::<i64>().is_ok_and(|n| n.to_string() == text),
            "whole number as it is printed",
        ),
        DataType::Decimal128(precision, scale) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let fraction = fraction.trim_end_matches('0').len();
            let plain = !whole.is_empty()
                && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
                && digits.matches('.').count() <= 1;
            let fits = whole.trim_start_matches('0').len() + usize::from(scale.unsigned_abs())
                <= usize::from(*precision)
                && fraction <= usize::from(scale.unsigned_abs());
            let wanted = || format!("number of {precision} digits, {scale} of them behind the point");
            if plain && fits {
                Ok(Some(literal(&format!("DECIMAL({precision}, {scale})"))))
            } else {
                Err(wanted())
            }
        }
        DataType::Float32 | DataType::Float64 | DataType::Date32 | DataType::Timestamp(..) => {
            let given: arrow::array::ArrayRef =
                std::sync::Arc::new(arrow::array::StringArray::from(vec![text]));
            let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
            let (wanted, sql) = match data_type {
                DataType::Float32 => ("number", literal("REAL")),
                DataType::Float64 => ("number", literal("DOUBLE")),
                DataType::Date32 => ("date, as in `2024-12-31`", literal("DATE")),
                // SQL's own literal has nanoseconds, which end in 2262.
                _ => (
                    "time, as in `2024-12-31T23:59:59Z`",
                    format!(
                        "arrow_cast('{}', 'Timestamp(Microsecond, Some(\"UTC\"))')",
                        text.replace('\'', "''")
                    ),
                ),
            };
            match arrow::compute::cast_with_options(&given, data_type, &options) {
                Ok(_) => Ok(Some(sql)),
                Err(_) => Err(wanted.to_owned()),
            }
        }
        _ => Err("value of a plain column: compare what it holds with `valid`".to_owned()),
    }
}

/// Plans the SQL of every rule over its table.
pub(super) fn check(cx: &mut Context<'_>, planned: &PlannedModels) {
    for (model, draft) in planned.all.values().filter(|(model, _)| !model.unlearned) {
        let Some(rules) = draft.header.object("expect") else { continue };
        for rule in &model.expectations {
            let at = draft.at(rules.line_of(&rule.name));
            check_predicate(cx, &at, &rule.name, &rule.predicate, &model.schema);
        }
        for measure in &model.measures {
            let at = draft.at(rules.line_of(&measure.name));
            check_measure(cx, &at, measure, planned);
        }
    }
}

/// Adds a fault if `predicate` is not a condition on one row of `schema`.
pub(super) fn check_predicate(
    cx: &mut Context<'_>,
    at: &Location,
    name: &str,
    predicate: &str,
    schema: &SchemaRef,
) {
    if let Err(error) = one_expression(predicate) {
        return told(cx, at, name, &error, schema);
    }
    match query::sql::parse(&format!("SELECT {predicate} AS valid")) {
        Ok(parsed) if parsed.uses_as_of => {
            let help = "a rule looks at the row alone: compare with a column";
            cx.faults.add(at, format!("`{name}` asks for the time"), help);
        }
        Ok(parsed) if !parsed.tables.is_empty() || parsed.changes.is_some() => {
            let help = "a rule looks at the row alone: use `relationships` or a `measure`";
            cx.faults.add(at, format!("`{name}` reads another table"), help);
        }
        Ok(_) => {
            if let Err(error) = Condition::compile(&cx.session, predicate, schema) {
                told(cx, at, name, &error, schema);
            }
        }
        Err(error) => told(cx, at, name, &error, schema),
    }
}

fn check_measure(cx: &mut Context<'_>, at: &Location, measure: &Measure, planned: &PlannedModels) {
    let name = &measure.name;
    for input in &measure.inputs {
        let Some((model, _)) = planned.all.get(input).filter(|(model, _)| model.kind != Kind::View) else {
            let known: Vec<String> = planned.all.keys().map(ToString::to_string).collect();
            let help = did_you_mean(&input.to_string(), known.iter().map(String::as_str));
            return cx.faults.add(
                at,
                format!("rule `{name}` asks for table `{input}`, which is no stored model"),
                help,
            );
        };
        if model.unlearned {
            return;
        }
    }
    let empty = std::sync::Arc::new(Schema::empty());
    if measure.inputs.is_empty()
        && let Err(error) = one_expression(&measure.expr)
    {
        return told(cx, at, name, &error, &empty);
    }
    if let Some(message) = unlike(measure, planned) {
        let help = "cast one of the columns in its model: values are compared, not their texts";
        return cx.faults.add(at, format!("rule `{name}`: {message}"), help);
    }
    let plan = query::sql::parse(&measure.query).and_then(|parsed| planned.planner.plan(&parsed));
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return told(cx, at, name, &error, &empty),
    };
    if let Some(fault) = query::rehearsal::rehearse(&plan, &[]).into_iter().next() {
        return told(cx, at, name, &query::Error::Sql(fault), &empty);
    }
    let number = |data_type: &DataType| data_type.is_numeric();
    let given = plan.schema.field(0).data_type();
    if !number(given) {
        let message = format!("measure `{name}` is of type {given}, not a number");
        return cx.faults.add(at, message, "cast it, as in `avg(CAST(x IS NOT NULL AS INT))`");
    }
    if !is_one_row(&plan.plan) {
        let message = format!("measure `{name}` is a number for each row, not one for the table");
        cx.faults.add(at, message, "put it into an aggregate, as in `avg(x)`");
    }
}

/// Describes a relationship between columns of types that can only be compared as text.
fn unlike(measure: &Measure, planned: &PlannedModels) -> Option<String> {
    let related = measure.related.as_ref()?;
    let kind = |table: &TableName, column: &str| {
        let (model, _) = planned.all.get(table)?;
        let visible = model.visible();
        let data_type = visible.field_with_name(column).ok()?.data_type().clone();
        let kind = match &data_type {
            DataType::Utf8 => "text",
            DataType::Boolean => "flag",
            DataType::Date32 | DataType::Timestamp(..) => "time",
            DataType::Binary => "bytes",
            number if number.is_numeric() => "number",
            _ => "structure",
        };
        Some((kind, data_type))
    };
    let (from, column) = (&related.from, &related.column);
    let (of, its) = kind(from, column).zip(kind(measure.inputs.first()?, &related.field))?;
    (of.0 != its.0)
        .then(|| format!("`{column}` is of type {} and `{}` of type {}", of.1, related.field, its.1))
}

/// Whether a plan is a single aggregate over all rows.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        _ => false,
    }
}

/// Checks that a text is exactly one expression, and cannot close one and open another.
fn one_expression(text: &str) -> Result<(), query::Error> {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    use datafusion::sql::sqlparser::tokenizer::Token;
    let fault = |message: String| {
        let help = "write one SQL expression".to_owned();
        query::Error::Sql(query::SqlFault { line: 0, column: 0, message, help })
    };
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|error| fault(error.to_string()))?;
    parser.parse_expr().map_err(|error| fault(error.to_string()))?;
    match parser.peek_token().token {
        Token::EOF => Ok(()),
        other => Err(fault(format!("`{other}` stands behind the expression"))),
    }
}

fn told(cx: &mut Context<'_>, at: &Location, name: &str, error: &query::Error, schema: &Schema) {
    for (_, message, help) in explain(error) {
        // The engine's message quotes the unknown column; the suggestion comes from our own columns.
        let unknown = message.split('\'').nth(1).or_else(|| message.split("field named ").nth(1));
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        let near = unknown.map(|word| did_you_mean(word.trim_matches(['.', ' ', '"']), columns));
        let help = near.filter(|near| near.starts_with("did") && message.contains("field")).unwrap_or(help);
        cx.faults.add(at, format!("rule `{name}`: {message}"), help);
    }
}

fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}
