//! Sums, averages and variances of integers and decimals that are exact in any order of rows.
//!
//! The engine's `sum` wraps (apache/datafusion#17539, #21318). So would any accumulator of the result's
//! width, if a partial sum exceeds its limits although the total does not. Here values are summed in a type
//! that no number of rows overflows, and only the total is converted to the result's type, with an error if
//! it does not fit. Averages and variances of integers are computed from these sums instead of sums of
//! floats, so the same rows give the same last bit.
//!
//! Floats, intervals and durations stay with the engine; models may not sum floats.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::kernels::numeric::mul;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Int64Type, i256};
use arrow::error::ArrowError;
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
    Volatility,
};

use super::checked::fits;

/// The aggregates, under the engine's names.
pub(super) fn aggregates() -> Vec<AggregateUDF> {
    let all = [
        (Of::Sum, sum_udaf()),
        (Of::Average, avg_udaf()),
        (Of::Spread { sample: true, root: false }, var_samp_udaf()),
        (Of::Spread { sample: false, root: false }, var_pop_udaf()),
        (Of::Spread { sample: true, root: true }, stddev_udaf()),
        (Of::Spread { sample: false, root: true }, stddev_pop_udaf()),
    ];
    all.into_iter()
        .map(|(of, engine)| {
            AggregateUDF::new_from_impl(Exact {
                of,
                engine,
                signature: Signature::user_defined(Volatility::Immutable),
            })
        })
        .collect()
}

/// What is computed from the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Sum,
    Average,
    /// Variance, or its square root; of a sample or of the whole population.
    Spread {
        sample: bool,
        root: bool,
    },
}

/// An exact aggregate, and the engine's own of the same name for types for which that is correct.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    of: Of,
    engine: Arc<AggregateUDF>,
    signature: Signature,
}

impl Exact {
    /// The type in which values of `given` are summed. `None`: the engine sums them.
    fn wide(&self, given: &DataType) -> Option<DataType> {
        use DataType as T;
        match (given, self.of) {
            (T::Int64 | T::UInt64, Of::Sum | Of::Average) => Some(T::Decimal128(38, 0)),
            (T::Int64 | T::UInt64, Of::Spread { .. }) => Some(T::Decimal256(76, 0)),
            // Eleven more digits hold the sum of 10^11 of the largest values.
            (T::Decimal128(p, s), Of::Sum) if *p <= 27 => Some(T::Decimal128(38, *s)),
            (T::Decimal128(_, s), Of::Sum | Of::Spread { .. }) => Some(T::Decimal256(76, *s)),
            // The engine's average of decimals checks its sums.
            _ => None,
        }
    }

    fn wide_of(&self, args: &AccumulatorArgs<'_>) -> Option<DataType> {
        args.expr_fields.first().and_then(|field| self.wide(field.data_type()))
    }

    fn work(&self, args: &AccumulatorArgs<'_>, wide: &DataType) -> Work {
        Work {
            of: self.of,
            wide: wide.clone(),
            given: args.return_field.data_type().clone(),
            name: args.name.to_owned(),
        }
    }

    /// The sums it needs: of what, and with which of the engine's aggregates.
    fn parts(&self, wide: &DataType) -> Vec<(Part, Arc<AggregateUDF>, DataType)> {
        let sum = (Part::Values, sum_udaf(), wide.clone());
        let count = (Part::Values, count_udaf(), DataType::Int64);
        match self.of {
            Of::Sum => vec![sum],
            Of::Average => vec![sum, count],
            Of::Spread { .. } => {
                vec![sum, count, (Part::Squares, sum_udaf(), squared(wide))]
            }
        }
    }
}

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Values,
    Squares,
}

fn squared(wide: &DataType) -> DataType {
    match wide {
        DataType::Decimal256(p, s) => DataType::Decimal256(*p, s.saturating_mul(2)),
        other => other.clone(),
    }
}

/// Calls `make` with the arguments of one part.
fn with_part<T>(
    args: &AccumulatorArgs<'_>,
    of: Part,
    wide: &DataType,
    given: &DataType,
    make: impl FnOnce(AccumulatorArgs<'_>) -> EngineResult<T>,
) -> EngineResult<T> {
    let input = if of == Part::Squares { squared(wide) } else { wide.clone() };
    let fields: Vec<FieldRef> = vec![Arc::new(Field::new("value", input, true))];
    make(AccumulatorArgs {
        return_field: Arc::new(Field::new(args.name, given.clone(), true)),
        schema: args.schema,
        ignore_nulls: args.ignore_nulls,
        order_bys: args.order_bys,
        is_reversed: args.is_reversed,
        name: args.name,
        is_distinct: args.is_distinct,
        exprs: args.exprs,
        expr_fields: &fields,
    })
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.engine.name()
    }
    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, given: &[DataType]) -> EngineResult<Vec<DataType>> {
        use DataType as T;
        let [one] = given else {
            return Err(DataFusionError::Plan(format!("`{}` takes one argument", self.name())));
        };
        let one = match one {
            T::Dictionary(_, value) => value.as_ref(),
            other => other,
        };
        Ok(vec![match (one, self.of) {
            (T::Int8 | T::Int16 | T::Int32 | T::Int64, _) => T::Int64,
            (T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64, _) => T::UInt64,
            (T::Float16 | T::Float32 | T::Float64, _) => T::Float64,
            (T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s), _) => T::Decimal128(*p, *s),
            (T::Decimal256(..), Of::Sum | Of::Average) => one.clone(),
            (T::Decimal256(..), _) => T::Float64,
            (T::Duration(_), Of::Sum | Of::Average) | (T::Interval(_), Of::Sum) => one.clone(),
            (T::Null, Of::Sum) => T::Int64,
            (T::Null, _) => T::Float64,
            (other, _) => {
                return Err(DataFusionError::Plan(format!("`{}` takes numbers, not {other}", self.name())));
            }
        }])
    }
    fn return_type(&self, given: &[DataType]) -> EngineResult<DataType> {
        match (self.of, given.first()) {
            (Of::Sum, _)
            | (
                Of::Average,
                Some(DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Duration(_)),
            ) => self.engine.return_type(given),
            _ => Ok(DataType::Float64),
        }
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> EngineResult<Box<dyn Accumulator>> {
        let Some(wide) = self.wide_of(&args) else { return self.engine.accumulator(args) };
        let mut parts = Vec::new();
        for (part, of, given) in self.parts(&wide) {
            parts.push((part, with_part(&args, part, &wide, &given, |a| of.accumulator(a))?));
        }
        Ok(Box::new(One { work: self.work(&args, &wide), parts }))
    }
    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> EngineResult<Box<dyn Accumulator>> {
        let Some(wide) = self.wide_of(&args) else { return self.engine.create_sliding_accumulator(args) };
        let mut parts = Vec::new();
        for (part, of, given) in self.parts(&wide) {
            parts.push((part, with_part(&args, part, &wide, &given, |a| of.create_sliding_accumulator(a))?));
        }
        Ok(Box::new(One { work: self.work(&args, &wide), parts }))
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> EngineResult<Vec<FieldRef>> {
        let Some(wide) = args.input_fields.first().and_then(|field| self.wide(field.data_type())) else {
            return self.engine.state_fields(args);
        };
        let mut all = Vec::new();
        for (part, of, given) in self.parts(&wide) {
            let input = if part == Part::Squares { squared(&wide) } else { wide.clone() };
            let fields: Vec<FieldRef> = vec![Arc::new(Field::new("value", input, true))];
            let name = if part == Part::Squares {
                format!("{} of squares", args.name)
            } else {
                args.name.to_owned()
            };
            all.extend(of.state_fields(StateFieldsArgs {
                name: &name,
                input_fields: &fields,
                return_field: Arc::new(Field::new(args.name, given, true)),
                ordering_fields: args.ordering_fields,
                is_distinct: args.is_distinct,
            })?);
        }
        Ok(all)
    }
    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match self.wide_of(&args) {
            Some(_) => !args.is_distinct,
            None => self.engine.groups_accumulator_supported(args),
        }
    }
    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> EngineResult<Box<dyn GroupsAccumulator>> {
        let Some(wide) = self.wide_of(&args) else { return self.engine.create_groups_accumulator(args) };
        let mut parts = Vec::new();
        for (part, of, given) in self.parts(&wide) {
            parts.push((part, with_part(&args, part, &wide, &given, |a| of.create_groups_accumulator(a))?));
        }
        Ok(Box::new(Grouped { work: self.work(&args, &wide), parts }))
    }
    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Conversion of the values and the result.
#[derive(Debug)]
struct Work {
    of: Of,
    wide: DataType,
    /// The type of the result.
    given: DataType,
    /// The call, for error messages.
    name: String,
}

impl Work {
    fn widened(&self, values: &[ArrayRef], part: Part) -> EngineResult<Vec<ArrayRef>> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        values
            .iter()
            .map(|array| {
                let wide = cast_with_options(array, &self.wide, &options)?;
                if part == Part::Values {
                    return Ok(wide);
                }
                let too_wide = |e| self.overflow(&format!("a square does not fit 76 digits ({e})"));
                let squares = mul(&wide, &wide).map_err(too_wide)?;
                Ok(cast_with_options(&fits(squares).map_err(too_wide)?, &squared(&self.wide), &options)?)
            })
            .collect()
    }

    /// The final result from the parts' results, each an array with one value per group.
    fn result(&self, parts: &[ArrayRef]) -> EngineResult<ArrayRef> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        match (self.of, parts) {
            (Of::Sum, [sum]) => {
                let not_fitting = |_| self.overflow(&format!("the sum does not fit {}", self.given));
                let given = cast_with_options(sum, &self.given, &options).map_err(not_fitting)?;
                fits(given).map_err(not_fitting)
            }
            (Of::Average, [sum, count]) => {
                let sum = sum.as_primitive::<arrow::datatypes::Decimal128Type>();
                let count = count.as_primitive::<Int64Type>();
                let average = |at: usize| {
                    let n = count.value(at);
                    (n > 0 && sum.is_valid(at)).then(|| sum.value(at) as f64 / n as f64)
                };
                Ok(Arc::new((0..count.len()).map(average).collect::<Float64Array>()))
            }
            (Of::Spread { sample, root }, [sum, count, squares]) => {
                let (sum, squares) =
                    (sum.as_primitive::<Decimal256Type>(), squares.as_primitive::<Decimal256Type>());
                let count = count.as_primitive::<Int64Type>();
                let spread = |at: usize| {
                    let n = count.value(at);
                    let least = if sample { 2 } else { 1 };
                    if n < least || sum.is_null(at) {
                        return Ok(None);
                    }
                    let of = if sample { n - 1 } else { n };
                    self.variance(sum.value(at), squares.value(at), n, of)
                        .map(|variance| Some(if root { variance.sqrt() } else { variance }))
                };
                Ok(Arc::new((0..count.len()).map(spread).collect::<EngineResult<Float64Array>>()?))
            }
            _ => Err(DataFusionError::Internal(format!(
                "`{}` has other parts than it was made with",
                self.name
            ))),
        }
    }

    /// (n Σx² − (Σx)²) / (n of), exact up to the division.
    fn variance(&self, sum: i256, squares: i256, n: i64, of: i64) -> EngineResult<f64> {
        let DataType::Decimal256(_, scale) = self.wide else {
            return Err(DataFusionError::Internal("a variance is computed of wide decimals".to_owned()));
        };
        let exact = || -> Option<i256> {
            let whole = squares.checked_mul(i256::from_i128(i128::from(n)))?;
            whole.checked_sub(sum.checked_mul(sum)?)
        };
        let above = exact().ok_or_else(|| self.overflow("its squares do not fit 76 digits"))?;
        let above: f64 = above.to_string().parse().map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(above / (n as f64) / (of as f64) / 10f64.powi(2 * i32::from(scale)))
    }

    fn overflow(&self, what: &str) -> DataFusionError {
        let what = format!(
            "`{}`: {what}: cast the argument to a wider type, as in `sum(CAST(x AS DECIMAL(38, 0)))`",
            self.name
        );
        DataFusionError::ArrowError(Box::new(ArrowError::ArithmeticOverflow(what)), None)
    }
}

/// Accumulates one group.
#[derive(Debug)]
struct One {
    work: Work,
    parts: Vec<(Part, Box<dyn Accumulator>)>,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        for (part, of) in &mut self.parts {
            of.update_batch(&self.work.widened(values, *part)?)?;
        }
        Ok(())
    }
    fn evaluate(&mut self) -> EngineResult<ScalarValue> {
        let parts = self
            .parts
            .iter_mut()
            .map(|(_, of)| of.evaluate()?.to_array())
            .collect::<EngineResult<Vec<_>>>()?;
        ScalarValue::try_from_array(&self.work.result(&parts)?, 0)
    }
    fn size(&self) -> usize {
        size_of_val(self) + self.parts.iter().map(|(_, of)| of.size()).sum::<usize>()
    }
    fn state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        let states = self.parts.iter_mut().map(|(_, of)| of.state()).collect::<EngineResult<Vec<_>>>()?;
        Ok(states.into_iter().flatten().collect())
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> EngineResult<()> {
        for ((_, of), state) in self.parts.iter_mut().zip(states) {
            of.merge_batch(std::slice::from_ref(state))?;
        }
        Ok(())
    }
    fn retract_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        for (part, of) in &mut self.parts {
            of.retract_batch(&self.work.widened(values, *part)?)?;
        }
        Ok(())
    }
    fn supports_retract_batch(&self) -> bool {
        self.parts.iter().all(|(_, of)| of.supports_retract_batch())
    }
}

/// Accumulates many groups at once.
struct Grouped {
    work: Work,
    parts: Vec<(Part, Box<dyn GroupsAccumulator>)>,
}

impl GroupsAccumulator for Grouped {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> EngineResult<()> {
        for (part, of) in &mut self.parts {
            of.update_batch(&self.work.widened(values, *part)?, groups, filter, total)?;
        }
        Ok(())
    }
    fn evaluate(&mut self, emit: EmitTo) -> EngineResult<ArrayRef> {
        let parts =
            self.parts.iter_mut().map(|(_, of)| of.evaluate(emit)).collect::<EngineResult<Vec<_>>>()?;
        self.work.result(&parts)
    }
    fn state(&mut self, emit: EmitTo) -> EngineResult<Vec<ArrayRef>> {
        let states = self.parts.iter_mut().map(|(_, of)| of.state(emit)).collect::<EngineResult<Vec<_>>>()?;
        Ok(states.into_iter().flatten().collect())
    }
    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> EngineResult<()> {
        for ((_, of), state) in self.parts.iter_mut().zip(values) {
            of.merge_batch(std::slice::from_ref(state), groups, total)?;
        }
        Ok(())
    }
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> EngineResult<Vec<ArrayRef>> {
        let mut all = Vec::new();
        for (part, of) in &self.parts {
            all.extend(of.convert_to_state(&self.work.widened(values, *part)?, filter)?);
        }
        Ok(all)
    }
    fn size(&self) -> usize {
        self.parts.iter().map(|(_, of)| of.size()).sum()
    }
}
