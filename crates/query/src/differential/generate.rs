//! Random queries in the SQL of models, limited to words that PostgreSQL and DuckDB know.

use super::values::{TYPES, Table, Type};

/// Random numbers from a seed.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % n.max(1)
    }
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A query, and result columns that are a unique key.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) keys: Vec<String>,
}

/// Columns that an expression may use.
#[derive(Debug, Clone, Default)]
struct Scope(Vec<(String, Type)>);

impl Query {
    /// Any query.
    pub(super) fn random(dice: &mut Dice, tables: &[Table]) -> Self {
        let mut writer = Writer { dice, tables, names: 0 };
        let sql = match writer.dice.below(6) {
            0 => writer.grouped().0,
            1 => writer.set_operation(),
            2 => writer.windowed(),
            3 => writer.over_subqueries(),
            _ => writer.plain(false),
        };
        Self { sql, keys: Vec::new() }
    }
    /// A query whose result has a key.
    pub(super) fn random_keyed(dice: &mut Dice, tables: &[Table]) -> Self {
        let mut writer = Writer { dice, tables, names: 0 };
        if writer.dice.one_in(2) {
            let (sql, keys) = writer.grouped();
            return Self { sql, keys };
        }
        let (from, scope) = writer.from();
        let filter = writer.filter(&scope);
        let mut columns = Vec::new();
        let mut keys = Vec::new();
        for at in 0..1 + writer.dice.below(3) {
            let kind = writer.dice.of(&TYPES);
            let expr = writer.column(kind, &scope);
            columns.push(format!("{expr} AS k{at}"));
            keys.push(format!("k{at}"));
        }
        Self { sql: format!("SELECT DISTINCT {} FROM {from}{filter}", columns.join(", ")), keys }
    }
}

struct Writer<'a> {
    dice: &'a mut Dice,
    tables: &'a [Table],
    names: usize,
}

impl Writer<'_> {
    fn alias(&mut self) -> String {
        self.names += 1;
        format!("a{}", self.names)
    }

    /// One of the tables under its own alias.
    fn table(&mut self) -> (String, Scope) {
        let at = self.dice.below(self.tables.len());
        let alias = self.alias();
        let columns =
            self.tables[at].columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect();
        (format!("silver.t{at} {alias}"), Scope(columns))
    }

    /// One to three tables in all kinds of joins.
    fn from(&mut self) -> (String, Scope) {
        let (mut text, mut scope) = self.table();
        for _ in 0..self.dice.below(3) {
            let (more, theirs) = self.table();
            let how =
                self.dice.of(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ","]);
            let both = Scope(scope.0.iter().chain(&theirs.0).cloned().collect());
            text = match how {
                "CROSS JOIN" => format!("{text} CROSS JOIN {more}"),
                // A comma would bind less tightly than the joins before it and hide their tables.
                "," => format!("{text} JOIN {more} ON true"),
                // PostgreSQL supports FULL JOIN only with equalities.
                "FULL JOIN" => {
                    let on = self.equal(&scope, &theirs, "=");
                    format!("{text} FULL JOIN {more} ON {on}")
                }
                how => {
                    let op = self.dice.of(&["=", "=", "IS NOT DISTINCT FROM"]);
                    let mut on = self.equal(&scope, &theirs, op);
                    if self.dice.one_in(3) {
                        let word = self.dice.of(&["AND", "AND", "OR"]);
                        on = format!("{on} {word} {}", self.truth(&both, 1));
                    }
                    format!("{text} {how} {more} ON {on}")
                }
            };
            scope = both;
        }
        (text, scope)
    }

    fn equal(&mut self, left: &Scope, right: &Scope, op: &str) -> String {
        let pairs: Vec<(&String, &String)> = left
            .0
            .iter()
            .flat_map(|(l, kind)| {
                right.0.iter().filter(move |(_, other)| other == kind).map(move |(r, _)| (l, r))
            })
            .collect();
        let (l, r) = pairs[self.dice.below(pairs.len())];
        format!("{l} {op} {r}")
    }

    fn filter(&mut self, scope: &Scope) -> String {
        if self.dice.one_in(3) { String::new() } else { format!(" WHERE {}", self.truth(scope, 2)) }
    }

    fn plain(&mut self, distinct: bool) -> String {
        let (from, scope) = self.from();
        let filter = self.filter(&scope);
        let columns: Vec<String> = (0..1 + self.dice.below(4))
            .map(|at| {
                let kind = self.dice.of(&TYPES);
                format!("{} AS c{at}", self.expr(kind, &scope, 2))
            })
            .collect();
        let distinct = if distinct || self.dice.one_in(5) { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{} FROM {from}{filter}", columns.join(", "))
    }

    fn grouped(&mut self) -> (String, Vec<String>) {
        let (from, scope) = self.from();
        let filter = self.filter(&scope);
        let (mut columns, mut keys, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..1 + self.dice.below(2) {
            let kind = self.dice.of(&TYPES);
            let expr =
                if self.dice.one_in(3) { self.expr(kind, &scope, 1) } else { self.column(kind, &scope) };
            columns.push(format!("{expr} AS k{at}"));
            keys.push(format!("k{at}"));
            groups.push((at + 1).to_string());
        }
        for at in 0..1 + self.dice.below(3) {
            columns.push(format!("{} AS v{at}", self.aggregate(&scope)));
        }
        let having = if self.dice.one_in(4) { " HAVING count(*) > 1" } else { "" };
        let sql = format!(
            "SELECT {} FROM {from}{filter} GROUP BY {}{having}",
            columns.join(", "),
            groups.join(", ")
        );
        (sql, keys)
    }

    fn aggregate(&mut self, scope: &Scope) -> String {
        let distinct = if self.dice.one_in(4) { "DISTINCT " } else { "" };
        match self.dice.below(7) {
            0 => "count(*)".to_owned(),
            1 => {
                let kind = self.dice.of(&TYPES);
                format!("count({distinct}{})", self.expr(kind, scope, 1))
            }
            2 => format!("sum({distinct}{})", self.column(Type::Integer, scope)),
            3 => format!("sum({distinct}{})", self.column(Type::Decimal, scope)),
            4 => format!("bool_or({})", self.truth(scope, 1)),
            _ => {
                let function = self.dice.of(&["min", "max"]);
                let kind = self.dice.of(&[
                    Type::Integer,
                    Type::Decimal,
                    Type::Double,
                    Type::Text,
                    Type::Time,
                    Type::Date,
                ]);
                format!("{function}({})", self.expr(kind, scope, 1))
            }
        }
    }

    fn set_operation(&mut self) -> String {
        let kinds: Vec<Type> = (0..1 + self.dice.below(2)).map(|_| self.dice.of(&TYPES)).collect();
        let part = |own: &mut Self| {
            let (from, scope) = own.from();
            let filter = own.filter(&scope);
            let columns: Vec<String> = kinds
                .iter()
                .enumerate()
                .map(|(at, kind)| format!("{} AS c{at}", own.column(*kind, &scope)))
                .collect();
            format!("SELECT {} FROM {from}{filter}", columns.join(", "))
        };
        let (left, right) = (part(self), part(self));
        let op = self.dice.of(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let set = format!("{left} {op} {right}");
        if self.dice.one_in(2) {
            return set;
        }
        // A set operation below a join.
        let (table, scope) = self.table();
        let mine = Scope(kinds.iter().enumerate().map(|(at, kind)| (format!("u.c{at}"), *kind)).collect());
        let op = self.dice.of(&["=", "IS NOT DISTINCT FROM"]);
        let shared = mine.0.iter().any(|(_, kind)| scope.0.iter().any(|(_, other)| other == kind));
        let on = if shared { self.equal(&mine, &scope, op) } else { "true".to_owned() };
        format!("SELECT u.*, {} AS j FROM ({set}) u JOIN {table} ON {on}", scope.0[0].0)
    }

    fn windowed(&mut self) -> String {
        let (table, scope) = self.table();
        let filter = self.filter(&scope);
        let id = scope.0[0].0.clone();
        let kind = self.dice.of(&TYPES);
        let partition = self.column(kind, &scope);
        let function = match self.dice.below(6) {
            0 => "row_number()".to_owned(),
            1 => "count(*)".to_owned(),
            2 => format!("lag({id})"),
            3 => format!("max({})", self.column(Type::Text, &scope)),
            4 => format!("sum({})", self.column(Type::Decimal, &scope)),
            _ => format!("first_value({})", self.column(Type::Integer, &scope)),
        };
        format!(
            "SELECT {id} AS id, {function} OVER (PARTITION BY {partition} ORDER BY {id}) AS w FROM {table}{filter}"
        )
    }

    fn over_subqueries(&mut self) -> String {
        let inner = self.plain(true);
        let (table, scope) = self.table();
        let (other, theirs) = self.table();
        let id = &scope.0[0].0;
        match self.dice.below(5) {
            0 => {
                let not = self.dice.of(&["", "NOT "]);
                let on = self.equal(&scope, &theirs, "=");
                let filter = self.truth(&theirs, 1);
                format!(
                    "SELECT {id} AS id FROM {table} WHERE {not}EXISTS (SELECT 1 FROM {other} WHERE {on} AND {filter})"
                )
            }
            1 => {
                let not = self.dice.of(&["", "NOT "]);
                let (l, r) = (&scope.0[1].0, &theirs.0[1].0);
                let filter = self.truth(&theirs, 1);
                format!(
                    "SELECT {id} AS id FROM {table} WHERE {l} {not}IN (SELECT {r} FROM {other} WHERE {filter})"
                )
            }
            2 => {
                let on = self.equal(&scope, &theirs, "=");
                let value = self.column(Type::Text, &theirs);
                format!("SELECT {id} AS id, (SELECT max({value}) FROM {other} WHERE {on}) AS m FROM {table}")
            }
            3 => format!(
                "WITH c AS ({inner}) SELECT count(*) AS n FROM c JOIN c d ON c.c0 IS NOT DISTINCT FROM d.c0"
            ),
            _ => format!("SELECT x.*, {id} AS id FROM ({inner}) x CROSS JOIN {table}"),
        }
    }

    /// A column of this type, or a literal if there is none.
    fn column(&mut self, kind: Type, scope: &Scope) -> String {
        let fitting: Vec<&String> =
            scope.0.iter().filter(|(_, k)| *k == kind).map(|(name, _)| name).collect();
        if fitting.is_empty() {
            return match self.dice.below(2) {
                0 => format!("CAST(NULL AS {})", kind.sql()),
                _ => kind.literal(self.dice),
            };
        }
        fitting[self.dice.below(fitting.len())].clone()
    }

    /// An expression of this type.
    fn expr(&mut self, kind: Type, scope: &Scope, depth: usize) -> String {
        if depth == 0 || self.dice.one_in(3) {
            return if self.dice.one_in(4) { kind.literal(self.dice) } else { self.column(kind, scope) };
        }
        let depth = depth - 1;
        match self.dice.below(6) {
            0 => format!("coalesce({}, {})", self.expr(kind, scope, depth), self.expr(kind, scope, depth)),
            1 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.truth(scope, depth),
                self.expr(kind, scope, depth),
                self.expr(kind, scope, depth)
            ),
            2 => format!("nullif({}, {})", self.expr(kind, scope, depth), self.column(kind, scope)),
            3 if kind != Type::Truth => {
                let function = self.dice.of(&["greatest", "least"]);
                format!("{function}({}, {})", self.expr(kind, scope, depth), self.expr(kind, scope, depth))
            }
            _ => self.own(kind, scope, depth),
        }
    }

    /// An expression that only this type has.
    fn own(&mut self, kind: Type, scope: &Scope, depth: usize) -> String {
        let pick = self.dice.below(4);
        match kind {
            Type::Integer => match pick {
                0 => format!("length({})", self.expr(Type::Text, scope, depth)),
                1 => format!("CAST(extract(year FROM {}) AS BIGINT)", self.expr(Type::Time, scope, depth)),
                2 => format!("abs({})", self.expr(kind, scope, depth)),
                _ => {
                    let op = self.dice.of(&["+", "-", "*"]);
                    format!("({} {op} {})", self.expr(kind, scope, depth), self.expr(kind, scope, depth))
                }
            },
            Type::Decimal => match pick {
                0 => format!("CAST({} AS DECIMAL(20,2))", self.column(Type::Integer, scope)),
                1 => format!("abs({})", self.expr(kind, scope, depth)),
                _ => {
                    let op = self.dice.of(&["+", "-"]);
                    format!(
                        "CAST({} {op} {} AS DECIMAL(20,2))",
                        self.expr(kind, scope, depth),
                        self.expr(kind, scope, depth)
                    )
                }
            },
            Type::Double => match pick {
                0 => format!("({} * 0.5)", self.expr(kind, scope, depth)),
                1 => format!("({} + {})", self.expr(kind, scope, depth), self.column(Type::Decimal, scope)),
                2 => format!("abs({})", self.expr(kind, scope, depth)),
                _ => format!("CAST({} AS DOUBLE PRECISION)", self.column(Type::Decimal, scope)),
            },
            Type::Text => match pick {
                0 => format!("upper({})", self.expr(kind, scope, depth)),
                1 => format!("({} || {})", self.expr(kind, scope, depth), self.expr(kind, scope, depth)),
                2 => format!("CAST({} AS VARCHAR)", self.column(Type::Integer, scope)),
                _ => format!("substr({}, 1, 1)", self.expr(kind, scope, depth)),
            },
            Type::Truth => self.truth(scope, depth),
            Type::Time => match pick {
                0 => {
                    let unit = self.dice.of(&["second", "hour", "day", "week", "month", "quarter", "year"]);
                    format!("date_trunc('{unit}', {})", self.expr(kind, scope, depth))
                }
                1 => format!("({} - INTERVAL '1' DAY)", self.expr(kind, scope, depth)),
                _ => format!("CAST({} AS TIMESTAMP)", self.expr(Type::Date, scope, depth)),
            },
            Type::Date => format!("CAST({} AS DATE)", self.expr(Type::Time, scope, depth)),
        }
    }

    fn truth(&mut self, scope: &Scope, depth: usize) -> String {
        let kind = self.dice.of(&TYPES);
        if depth == 0 {
            let op = self.dice.of(&["=", "<>", "<", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
            return format!("{} {op} {}", self.column(kind, scope), kind.literal(self.dice));
        }
        let depth = depth - 1;
        match self.dice.below(10) {
            0 | 1 => {
                let word = self.dice.of(&["AND", "OR"]);
                format!("({} {word} {})", self.truth(scope, depth), self.truth(scope, depth))
            }
            2 => format!("NOT ({})", self.truth(scope, depth)),
            3 => {
                let not = self.dice.of(&["", "NOT "]);
                format!("{} IS {not}NULL", self.expr(kind, scope, depth))
            }
            4 => {
                let not = self.dice.of(&["", "NOT "]);
                format!(
                    "{} {not}IN ({}, {})",
                    self.column(kind, scope),
                    kind.literal(self.dice),
                    kind.literal(self.dice)
                )
            }
            5 => format!(
                "{} BETWEEN {} AND {}",
                self.expr(kind, scope, depth),
                kind.literal(self.dice),
                self.expr(kind, scope, depth)
            ),
            6 => {
                let pattern = self.dice.of(&["a%", "%b", "_", "%", ""]);
                format!("{} LIKE '{pattern}'", self.expr(Type::Text, scope, depth))
            }
            7 => format!(
                "{} {} {}",
                self.column(Type::Double, scope),
                self.dice.of(&["<", ">=", "="]),
                self.column(Type::Decimal, scope)
            ),
            _ => {
                let op = self.dice.of(&[
                    "=",
                    "<>",
                    "<",
                    "<=",
                    ">",
                    ">=",
                    "IS DISTINCT FROM",
                    "IS NOT DISTINCT FROM",
                ]);
                format!("{} {op} {}", self.expr(kind, scope, depth), self.expr(kind, scope, depth))
            }
        }
    }
}
