//! Decides what a refresh does. No I/O: positions, versions and the time are arguments.
//!
//! A table's rows equal its SQL at its pins. Its loop may know that they also equal it at later versions,
//! because no row changed (*checked*); the later version counts.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{AppId, ClockMs, Positions, TableId, TableName, Version};

use crate::error::{Error, Result};

/// An input at its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: TableName,
    /// Its id; a recreated table has another one.
    pub id: TableId,
    /// Its newest version.
    pub version: Version,
}

/// The input of a decision.
#[derive(Debug)]
pub struct Standing<'a> {
    /// The gold table.
    pub table: &'a TableName,
    /// Its positions.
    pub positions: &'a Positions,
    /// Fingerprint of the model.
    pub fingerprint: i64,
    /// True if the query uses the time.
    pub uses_as_of: bool,
    /// True if tables over this one take their time from it.
    pub tells_time: bool,
    /// The time, rounded down to the model's tick.
    pub time: ClockMs,
    /// The inputs.
    pub inputs: &'a [Input],
    /// Versions up to which the rows are known to be unchanged.
    pub checked: &'a BTreeMap<TableName, Version>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The new meaning of `now()`. Never decreases.
    pub as_of: ClockMs,
    /// The step.
    pub step: Step,
}

/// The step of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The table was never computed.
    Fill,
    /// Compute everything, for this reason.
    Full(&'static str),
    /// These inputs have new versions, after these.
    Moved(BTreeMap<TableName, Version>),
    /// Nothing has to be done.
    Idle,
}

/// Which part of a computed refresh is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The difference and the pins. Also for the first refresh of a table, even without rows.
    Rows,
    /// Only the pins, because no row differs.
    Pins,
    /// Nothing: no row differs, and the pins are not due yet.
    Nothing,
}
impl Decision {
    /// What to commit, given whether a row differs and whether pins are due ([`pins_due`]).
    pub fn writes(&self, differs: bool, pins_due: bool) -> Write {
        match (differs || self.step == Step::Fill, pins_due) {
            (true, _) => Write::Rows,
            (false, true) => Write::Pins,
            (false, false) => Write::Nothing,
        }
    }
}

/// Decides, or returns why the table has to halt.
pub fn decide(standing: &Standing<'_>) -> Result<Decision> {
    let Standing { table, positions, .. } = standing;
    let held = positions.get(&AppId::plan());
    if held != Some(standing.fingerprint) {
        let (held, wanted) = (held.unwrap_or_default(), standing.fingerprint);
        return Err(Error::PlanChanged { table: (*table).clone(), held, wanted });
    }
    let Some(before) = positions.get(&AppId::as_of()).map(ClockMs) else {
        return Ok(Decision { as_of: standing.time, step: Step::Fill });
    };
    let mut moved = BTreeMap::new();
    for input in standing.inputs {
        let Some(pin) = positions.get(&AppId::table(&input.id)).and_then(Version::of_position) else {
            let id = input.id.to_string();
            return Err(Error::InputRecreated { table: (*table).clone(), input: input.name.clone(), id });
        };
        if pin > input.version {
            let (pin, newest) = (pin.0, input.version.0);
            return Err(Error::PinAhead { table: (*table).clone(), input: input.name.clone(), pin, newest });
        }
        let from = standing
            .checked
            .get(&input.name)
            .copied()
            .filter(|v| *v <= input.version)
            .map_or(pin, |v| v.max(pin));
        if from < input.version {
            moved.insert(input.name.clone(), from);
        }
    }
    if standing.uses_as_of && standing.time > before {
        return Ok(Decision {
            as_of: standing.time,
            step: Step::Full("the pinned time moved, and the query asks for it"),
        });
    }
    let step = if moved.is_empty() { Step::Idle } else { Step::Moved(moved) };
    let as_of = if standing.tells_time { before.max(standing.time) } else { before };
    Ok(Decision { as_of, step })
}

/// The pins of a table that is computed from these inputs.
pub fn pins(fingerprint: i64, as_of: ClockMs, inputs: &[Input]) -> Positions {
    let pins = inputs.iter().map(|input| (AppId::table(&input.id), input.version.position()));
    pins.chain([(AppId::as_of(), as_of.0), (AppId::plan(), fingerprint)]).collect()
}

/// True if a pins-only commit is due.
pub fn pins_due(
    held: &Positions,
    wanted: &Positions,
    since: Option<ClockMs>,
    now: ClockMs,
    every: Duration,
    draining: bool,
) -> bool {
    held.then(wanted) != *held && (draining || since.is_none_or(|since| now.is_past(since, every)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use runtime::Failure as _;

    use super::*;

    fn input(name: &str, version: u64) -> Input {
        let name: TableName = name.parse().expect("valid");
        let id = format!("id-{name}").parse().expect("valid");
        Input { name, id, version: Version(version) }
    }

    fn decision(
        positions: &Positions,
        inputs: &[Input],
        uses_as_of: bool,
        time: i64,
        checked: &[(&str, u64)],
    ) -> Result<Decision> {
        telling(false, positions, inputs, uses_as_of, time, checked)
    }

    fn telling(
        tells_time: bool,
        positions: &Positions,
        inputs: &[Input],
        uses_as_of: bool,
        time: i64,
        checked: &[(&str, u64)],
    ) -> Result<Decision> {
        let table: TableName = "gold.t".parse().expect("valid");
        let checked = checked.iter().map(|(n, v)| (n.parse().expect("valid"), Version(*v))).collect();
        let time = ClockMs(time);
        decide(&Standing {
            table: &table,
            positions,
            fingerprint: 7,
            uses_as_of,
            tells_time,
            time,
            inputs,
            checked: &checked,
        })
    }

    fn pinned(a: u64, b: u64) -> Positions {
        pins(7, ClockMs(100), &[input("silver.a", a), input("silver.b", b)])
    }

    fn moved(from: &[(&str, u64)]) -> Step {
        Step::Moved(from.iter().map(|(n, v)| (n.parse().expect("valid"), Version(*v))).collect())
    }

    #[test]
    fn a_table_never_computed_is_filled() {
        let created = Positions::default().with(AppId::plan(), 7);
        let decision = decision(&created, &[input("silver.a", 3)], false, 50, &[]).expect("decided");
        assert_eq!(decision, Decision { as_of: ClockMs(50), step: Step::Fill });
    }

    #[rstest]
    #[case::nothing(3, 4, &[], Step::Idle)]
    #[case::one_input(5, 4, &[], moved(&[("silver.a", 3)]))]
    #[case::both(5, 9, &[], moved(&[("silver.a", 3), ("silver.b", 4)]))]
    #[case::from_where_it_was_checked(5, 4, &[("silver.a", 4)], moved(&[("silver.a", 4)]))]
    #[case::all_checked(5, 4, &[("silver.a", 5)], Step::Idle)]
    fn a_refresh_starts_where_the_rows_are_known(
        #[case] a: u64,
        #[case] b: u64,
        #[case] checked: &[(&str, u64)],
        #[case] step: Step,
    ) {
        let inputs = [input("silver.a", a), input("silver.b", b)];
        let decision = decision(&pinned(3, 4), &inputs, false, 999, checked).expect("decided");
        assert_eq!(decision, Decision { as_of: ClockMs(100), step });
    }

    // Holds P7 (docs/invariants.md).
    #[rstest]
    #[case::later(true, 200, 200, Step::Full("the pinned time moved, and the query asks for it"))]
    #[case::same(true, 100, 100, Step::Idle)]
    #[case::earlier(true, 50, 100, Step::Idle)]
    #[case::not_asked_for(false, 200, 100, Step::Idle)]
    fn the_pinned_time_never_falls_and_matters_only_when_asked_for(
        #[case] uses: bool,
        #[case] time: i64,
        #[case] as_of: i64,
        #[case] step: Step,
    ) {
        let inputs = [input("silver.a", 3), input("silver.b", 4)];
        let decision = decision(&pinned(3, 4), &inputs, uses, time, &[]).expect("decided");
        assert_eq!(decision, Decision { as_of: ClockMs(as_of), step });
    }

    #[rstest]
    #[case::later(200, 200)]
    #[case::earlier(50, 100)]
    fn a_table_that_tells_others_the_time_pins_it_and_is_not_computed_for_it(
        #[case] time: i64,
        #[case] as_of: i64,
    ) {
        let inputs = [input("silver.a", 3), input("silver.b", 4)];
        let decision = telling(true, &pinned(3, 4), &inputs, false, time, &[]).expect("decided");
        assert_eq!(decision, Decision { as_of: ClockMs(as_of), step: Step::Idle });
    }

    // Holds P4 (docs/invariants.md).
    #[test]
    fn another_plan_another_input_or_an_older_input_halt() {
        let inputs = [input("silver.a", 3), input("silver.b", 4)];
        let other_plan = pinned(3, 4).with(AppId::plan(), 8);
        let halted = decision(&other_plan, &inputs, false, 0, &[]).expect_err("halts");
        assert!(matches!(halted, Error::PlanChanged { held: 8, wanted: 7, .. }), "{halted}");
        let recreated =
            [Input { id: "other".parse().expect("valid"), ..input("silver.a", 3) }, input("silver.b", 4)];
        let halted = decision(&pinned(3, 4), &recreated, false, 0, &[]).expect_err("halts");
        assert!(matches!(halted, Error::InputRecreated { .. }), "{halted}");
        let halted = decision(&pinned(3, 9), &inputs, false, 0, &[]).expect_err("halts");
        assert!(matches!(halted, Error::PinAhead { pin: 9, newest: 4, .. }), "{halted}");
        assert!([halted].iter().all(|e| e.reaction() == model::Reaction::Halt));
    }

    #[rstest]
    #[case::unchanged(3, None, false, false)]
    #[case::first(4, None, false, true)]
    #[case::too_early(4, Some(80_000), false, false)]
    #[case::late_enough(4, Some(70_000), false, true)]
    #[case::draining(4, Some(99_999), true, true)]
    #[case::draining_unchanged(3, Some(0), true, false)]
    fn pins_alone_are_committed_now_and_then(
        #[case] a: u64,
        #[case] since: Option<i64>,
        #[case] draining: bool,
        #[case] due: bool,
    ) {
        let every = Duration::from_secs(30);
        let now = ClockMs(100_000);
        assert_eq!(pins_due(&pinned(3, 4), &pinned(a, 4), since.map(ClockMs), now, every, draining), due);
    }

    #[rstest]
    #[case::first_refresh_without_rows(Step::Fill, false, false, Write::Rows)]
    #[case::rows_changed(moved(&[("silver.a", 3)]), true, false, Write::Rows)]
    #[case::no_row_changed(moved(&[("silver.a", 3)]), false, false, Write::Nothing)]
    #[case::no_row_changed_and_the_pins_are_due(moved(&[("silver.a", 3)]), false, true, Write::Pins)]
    #[case::nothing_moved(Step::Idle, false, false, Write::Nothing)]
    #[case::pins_kept_in_memory_are_due(Step::Idle, false, true, Write::Pins)]
    fn a_commit_holds_rows_where_some_differ_and_the_pins_now_and_then(
        #[case] step: Step,
        #[case] differs: bool,
        #[case] due: bool,
        #[case] write: Write,
    ) {
        assert_eq!(Decision { as_of: ClockMs(0), step }.writes(differs, due), write);
    }
}
