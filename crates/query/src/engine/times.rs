//! Functions of time for every time that a table can store: microseconds, not only the years 1677 to 2262 of
//! the engine's nanoseconds. `9999-12-31` as "for ever" is a time like any other.
//!
//! - `date_trunc`, `date_bin`: the engine computes in nanoseconds (apache/datafusion#25432). It still
//!   computes arrays within its range; others are computed here.
//! - `to_char`: the engine's own accepts microseconds but asks for nanoseconds first.
//! - `to_timestamp` and its variants: the engine plans a zone and returns none (apache/datafusion#24632), and
//!   parses in nanoseconds (apache/datafusion#8336). Here they return UTC microseconds.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options, max, min};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Field, FieldRef, Float64Type, Int64Type, IntervalMonthDayNano,
    IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use chrono::{
    DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
};
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::functions::datetime;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The functions, under the engine's names.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let config = ConfigOptions::default();
    let mut all = vec![
        of(What::Trunc, datetime::date_trunc()),
        of(What::Bin, datetime::date_bin()),
        of(What::Char, datetime::to_char()),
    ];
    let part = datetime::date_part();
    let signature = part.signature().clone();
    all.push(ScalarUDF::new_from_impl(OfTime { what: What::Part, engine: part, signature }));
    for (unit, engine) in [
        (Unit::Given, datetime::to_timestamp(&config)),
        (Unit::Seconds, datetime::to_timestamp_seconds(&config)),
        (Unit::Millis, datetime::to_timestamp_millis(&config)),
        (Unit::Micros, datetime::to_timestamp_micros(&config)),
        (Unit::Nanos, datetime::to_timestamp_nanos(&config)),
    ] {
        all.push(of(What::Timestamp(unit), engine));
    }
    all
}

fn of(what: What, engine: Arc<ScalarUDF>) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(OfTime { what, engine, signature })
}

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    /// Seconds, with a fraction if the number has one.
    Given,
    Seconds,
    Millis,
    Micros,
    Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Trunc,
    Bin,
    Char,
    Part,
    Timestamp(Unit),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfTime {
    what: What,
    engine: Arc<ScalarUDF>,
    signature: Signature,
}

fn micros(zone: Option<&Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.cloned())
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The argument type of the functions: timestamps in microseconds; dates and texts become timestamps.
fn as_time(given: &DataType) -> DataType {
    use DataType as T;
    match given {
        T::Timestamp(_, zone) => micros(zone.as_ref()),
        T::Date32 | T::Date64 | T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => micros(None),
        other => other.clone(),
    }
}

fn as_text(given: &DataType) -> DataType {
    if given.is_string() || given.is_null() { DataType::Utf8 } else { given.clone() }
}

impl ScalarUDFImpl for OfTime {
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
        let wrong = || {
            let types = given.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(DataFusionError::Plan(format!("`{}` does not take ({types})", self.name())))
        };
        let is_time = |t: &DataType| matches!(t, T::Timestamp(..));
        Ok(match (self.what, given) {
            (What::Trunc, [unit, at]) => {
                let at = as_time(at);
                if !as_text(unit).is_string() || !(is_time(&at) || matches!(at, T::Time32(_) | T::Time64(_)))
                {
                    return wrong();
                }
                vec![T::Utf8, at]
            }
            (What::Bin, [_, at, rest @ ..]) if rest.len() < 2 => {
                let at = as_time(at);
                let stride = T::Interval(IntervalUnit::MonthDayNano);
                match &at {
                    T::Timestamp(_, zone) => {
                        let origin = rest.iter().map(|_| micros(zone.as_ref()));
                        [stride, at.clone()].into_iter().chain(origin).collect()
                    }
                    T::Time32(_) | T::Time64(_) => {
                        let origin = rest.iter().map(|_| at.clone());
                        [stride, at.clone()].into_iter().chain(origin).collect()
                    }
                    _ => return wrong(),
                }
            }
            (What::Char, [at, format]) => {
                let at = match at {
                    T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Duration(_) => at.clone(),
                    other => as_time(other),
                };
                let known = matches!(
                    at,
                    T::Timestamp(..) | T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Duration(_)
                );
                if !known || !as_text(format).is_string() {
                    return wrong();
                }
                vec![at, T::Utf8]
            }
            (What::Timestamp(_), [text, formats @ ..]) if as_text(text).is_string() => {
                if !formats.iter().all(|f| as_text(f).is_string()) {
                    return wrong();
                }
                given.iter().map(|_| T::Utf8).collect()
            }
            (What::Timestamp(_), [at]) => vec![match at {
                T::Timestamp(_, zone) => micros(zone.as_ref()),
                T::Date32 | T::Date64 => micros(None),
                t if t.is_integer() => T::Int64,
                t if t.is_floating() => T::Float64,
                T::Decimal128(p, s) => T::Decimal128(*p, *s),
                t if t.is_decimal() => T::Decimal128(38, 9),
                _ => return wrong(),
            }],
            _ => return wrong(),
        })
    }
    fn return_type(&self, given: &[DataType]) -> EngineResult<DataType> {
        match (self.what, given) {
            (What::Trunc | What::Bin, [_, at, ..]) => Ok(at.clone()),
            (What::Char, _) => Ok(DataType::Utf8),
            (What::Timestamp(_), _) => Ok(utc()),
            _ => Err(DataFusionError::Plan(format!("`{}` takes two or three arguments", self.name()))),
        }
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> EngineResult<FieldRef> {
        if self.what == What::Part {
            return self.engine.return_field_from_args(args);
        }
        let given: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&given)?, true)))
    }
    fn output_ordering(&self, inputs: &[ExprProperties]) -> EngineResult<SortProperties> {
        match (self.what, inputs) {
            (What::Trunc, [unit, at]) if unit.sort_properties == SortProperties::Singleton => {
                Ok(at.sort_properties)
            }
            _ => Ok(SortProperties::Unordered),
        }
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        match self.what {
            What::Char => self.engine.invoke_with_args(args),
            What::Part => self.part(args),
            What::Trunc | What::Bin if !matches!(args.return_field.data_type(), DataType::Timestamp(..)) => {
                self.engine.invoke_with_args(args)
            }
            What::Trunc => {
                let unit = text_of(&args.args[0], "date_trunc")?;
                self.over_times(args, |at, zone| trunc(&unit, at, zone))
            }
            What::Bin => {
                let (stride, origin) = (stride_of(&args.args[0])?, origin_of(args.args.get(2))?);
                let (Some(stride), Some(origin)) = (stride, origin) else {
                    return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_field.data_type())?));
                };
                if (1678..2262).contains(&year_of(origin)) {
                    self.over_times(args, |at, _| bin(stride, at, origin))
                } else {
                    here(&args, |at, _| bin(stride, at, origin))
                }
            }
            What::Timestamp(unit) => self.timestamp(unit, args),
        }
    }
}

impl OfTime {
    /// The engine's result if all times are in its range, else the result of `compute`.
    fn over_times(
        &self,
        mut args: ScalarFunctionArgs,
        compute: impl Fn(i64, Option<&Tz>) -> EngineResult<i64>,
    ) -> EngineResult<ColumnarValue> {
        let ColumnarValue::Array(array) = &args.args[1] else { return here(&args, compute) };
        let times = array.as_primitive::<TimestampMicrosecondType>();
        let near = |at: Option<i64>| at.is_none_or(|at| (1678..2262).contains(&year_of(at)));
        if !near(min(times)) || !near(max(times)) {
            return here(&args, compute);
        }
        let planned = args.return_field.data_type().clone();
        if let Some(origin) = args.args.get_mut(2) {
            let zone = match &planned {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            *origin = origin.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, zone), None)?;
        }
        let given = self.engine.invoke_with_args(args)?;
        if given.data_type() == planned { Ok(given) } else { given.cast_to(&planned, None) }
    }

    /// The engine counts the seconds of a difference in 32 bits and returns NULL if they overflow.
    fn part(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(part))) = &args.args[0] else {
            return self.engine.invoke_with_args(args);
        };
        let part = part.to_lowercase();
        let is_difference = matches!(args.args[1].data_type(), DataType::Duration(_));
        if is_difference && part == "epoch" && *args.return_field.data_type() == DataType::Float64 {
            let seconds = |array: &ArrayRef| -> EngineResult<ArrayRef> {
                let wide = DataType::Duration(TimeUnit::Microsecond);
                let micros =
                    cast_with_options(array, &wide, &CastOptions { safe: false, ..CastOptions::default() })?;
                let micros = micros.as_primitive::<DurationMicrosecondType>();
                Ok(Arc::new(micros.unary::<_, Float64Type>(|v| v as f64 / 1e6)))
            };
            let array = seconds(&args.args[1].to_array(1)?)?;
            return Ok(match &args.args[1] {
                ColumnarValue::Array(_) => ColumnarValue::Array(array),
                ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            });
        }
        let given = args.args[1].to_array(args.number_rows)?;
        let answer = self.engine.invoke_with_args(args)?;
        if is_difference {
            let array = answer.to_array(given.len())?;
            if array.null_count() > given.null_count() {
                let what = format!("the {part} of a difference does not fit: take its `epoch`");
                return Err(DataFusionError::Execution(what));
            }
        }
        Ok(answer)
    }

    fn timestamp(&self, unit: Unit, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        if args.args.len() > 1 {
            let all_scalars = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
            let rows = if all_scalars { 1 } else { args.number_rows };
            let columns = args.args.iter().map(|a| a.to_array(rows)).collect::<EngineResult<Vec<_>>>()?;
            let times = by_formats(&columns)?;
            return Ok(if all_scalars {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&times, 0)?)
            } else {
                ColumnarValue::Array(times)
            });
        }
        let is_scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(1)?;
        let times = to_micros(&array, unit)?;
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&times, 0)?));
        }
        Ok(ColumnarValue::Array(times))
    }
}

/// Applies `compute` to every time, in the zone of the column.
fn here(
    args: &ScalarFunctionArgs,
    compute: impl Fn(i64, Option<&Tz>) -> EngineResult<i64>,
) -> EngineResult<ColumnarValue> {
    let DataType::Timestamp(_, zone) = args.return_field.data_type() else {
        return Err(DataFusionError::Internal("a function of times gives a time".to_owned()));
    };
    let parsed: Option<Tz> = zone.as_deref().map(str::parse).transpose()?;
    let array = args.args[1].to_array(1)?;
    let times = array.as_primitive::<TimestampMicrosecondType>();
    let given: TimestampMicrosecondArray = times.try_unary(|at| compute(at, parsed.as_ref()))?;
    let given = given.with_timezone_opt(zone.clone());
    match &args.args[1] {
        ColumnarValue::Array(_) => Ok(ColumnarValue::Array(Arc::new(given))),
        ColumnarValue::Scalar(_) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&given, 0)?)),
    }
}

fn text_of(value: &ColumnarValue, function: &str) -> EngineResult<String> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Ok(text.to_lowercase()),
        _ => {
            Err(DataFusionError::Execution(format!("`{function}` takes its unit as a text, not as a column")))
        }
    }
}

fn stride_of(value: &ColumnarValue) -> EngineResult<Option<IntervalMonthDayNano>> {
    match value {
        ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(stride)) => Ok(*stride),
        _ => Err(DataFusionError::Execution(
            "`date_bin` takes its stride as an interval, not as a column".to_owned(),
        )),
    }
}

fn origin_of(value: Option<&ColumnarValue>) -> EngineResult<Option<i64>> {
    match value {
        None => Ok(Some(0)),
        Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(origin, _))) => Ok(*origin),
        Some(_) => Err(DataFusionError::Execution(
            "`date_bin` takes its origin as a time, not as a column".to_owned(),
        )),
    }
}

fn out_of_range(at: i64) -> DataFusionError {
    DataFusionError::Execution(format!("the time of {at} microseconds since 1970 is beyond every calendar"))
}

fn date_time(at: i64) -> EngineResult<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at).ok_or_else(|| out_of_range(at))
}

fn year_of(at: i64) -> i32 {
    DateTime::from_timestamp_micros(at).map_or(i32::MAX, |t| t.year())
}

/// The beginning of the unit that contains a time, in the calendar of its zone.
fn trunc(unit: &str, at: i64, zone: Option<&Tz>) -> EngineResult<i64> {
    let fixed = match unit {
        "microsecond" => Some(1),
        "millisecond" => Some(1_000),
        "second" => Some(1_000_000),
        "minute" => Some(60_000_000),
        _ => None,
    };
    if let Some(width) = fixed {
        return at.checked_sub(at.rem_euclid(width)).ok_or_else(|| out_of_range(at));
    }
    let utc = date_time(at)?;
    let offset =
        zone.map_or(0, |zone| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
    let local = utc
        .naive_utc()
        .checked_add_signed(TimeDelta::seconds(i64::from(offset)))
        .ok_or_else(|| out_of_range(at))?;
    let day = local.date();
    let date = match unit {
        "hour" | "day" => Some(day),
        "week" => day.checked_sub_signed(TimeDelta::days(i64::from(day.weekday().num_days_from_monday()))),
        "month" => day.with_day(1),
        "quarter" => NaiveDate::from_ymd_opt(day.year(), (day.month0() / 3) * 3 + 1, 1),
        "year" => NaiveDate::from_ymd_opt(day.year(), 1, 1),
        other => {
            return Err(DataFusionError::Execution(format!(
                "`date_trunc` does not know the unit `{other}`: write microsecond, millisecond, second, minute, hour, day, week, month, quarter or year"
            )));
        }
    };
    let hour = if unit == "hour" { local.hour() } else { 0 };
    let begin = date.and_then(|d| d.and_hms_opt(hour, 0, 0)).ok_or_else(|| out_of_range(at))?;
    let instant = match zone {
        None => begin.and_utc(),
        Some(zone) => local_to_utc(begin, zone, offset).ok_or_else(|| out_of_range(at))?,
    };
    Ok(instant.timestamp_micros())
}

/// The instant of a local time. If there are two, the one with the offset of the original time; if there is
/// none, the one with the offset three hours earlier, as in the engine.
fn local_to_utc(local: NaiveDateTime, zone: &Tz, offset: i32) -> Option<DateTime<Utc>> {
    use chrono::LocalResult as L;
    match zone.from_local_datetime(&local) {
        L::Single(at) => Some(at.to_utc()),
        L::Ambiguous(first, second) => Some(if first.offset().fix().local_minus_utc() == offset {
            first.to_utc()
        } else {
            second.to_utc()
        }),
        L::None => {
            let hours = TimeDelta::hours(3);
            let before = zone.from_local_datetime(&local.checked_sub_signed(hours)?).single()?;
            before.to_utc().checked_add_signed(hours)
        }
    }
}

/// The beginning of the stride that contains a time, counted from the origin.
fn bin(stride: IntervalMonthDayNano, at: i64, origin: i64) -> EngineResult<i64> {
    let nanos = i128::from(stride.days) * 86_400_000_000_000 + i128::from(stride.nanoseconds);
    if stride.months != 0 {
        if nanos != 0 {
            let what = "`date_bin` takes a stride of months or one of days and less, not both";
            return Err(DataFusionError::Execution(what.to_owned()));
        }
        return bin_months(i64::from(stride.months), at, origin);
    }
    if nanos <= 0 {
        return Err(DataFusionError::Execution("`date_bin` takes a stride above zero".to_owned()));
    }
    let since = (i128::from(at) - i128::from(origin)) * 1000;
    let begin = i128::from(origin) * 1000 + since.div_euclid(nanos) * nanos;
    i64::try_from(begin.div_euclid(1000)).map_err(|_| out_of_range(at))
}

fn bin_months(stride: i64, at: i64, origin: i64) -> EngineResult<i64> {
    if stride <= 0 {
        return Err(DataFusionError::Execution("`date_bin` takes a stride above zero".to_owned()));
    }
    let (time, from) = (date_time(at)?, date_time(origin)?);
    let month = |t: &DateTime<Utc>| i64::from(t.year()) * 12 + i64::from(t.month0());
    let shifted = |by: i64| {
        let months = Months::new(u32::try_from(by.unsigned_abs()).ok()?);
        if by < 0 { from.checked_sub_months(months) } else { from.checked_add_months(months) }
    };
    let by = (month(&time) - month(&from)).div_euclid(stride) * stride;
    let begin = shifted(by).filter(|begin| *begin <= time).or_else(|| shifted(by - stride));
    begin.map(|t| t.timestamp_micros()).ok_or_else(|| out_of_range(at))
}

/// A column of texts, each parsed by the first format that fits. The engine ignores the hour of a format
/// without minutes.
fn by_formats(columns: &[ArrayRef]) -> EngineResult<ArrayRef> {
    let texts: Vec<&StringArray> = columns.iter().map(|c| c.as_string::<i32>()).collect();
    let Some((values, formats)) = texts.split_first() else {
        return Err(DataFusionError::Plan("`to_timestamp` takes a text".to_owned()));
    };
    let read = |row: usize| -> EngineResult<Option<i64>> {
        if values.is_null(row) {
            return Ok(None);
        }
        let text = values.value(row);
        let fitting = formats.iter().filter(|f| f.is_valid(row)).find_map(|f| by_format(text, f.value(row)));
        fitting
            .map(Some)
            .ok_or_else(|| DataFusionError::Execution(format!("no format fits the time `{text}`")))
    };
    let times: TimestampMicrosecondArray = (0..values.len()).map(read).collect::<EngineResult<_>>()?;
    Ok(Arc::new(times.with_timezone("UTC")))
}

fn by_format(text: &str, format: &str) -> Option<i64> {
    use chrono::format::{Parsed, StrftimeItems, parse};
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    if parsed.timestamp().is_none() {
        // Units that the format leaves out start at their minimum.
        if parsed.hour_mod_12().is_none() && parsed.hour_div_12().is_none() {
            parsed.set_hour(0).ok()?;
        }
        if parsed.minute().is_none() {
            parsed.set_minute(0).ok()?;
        }
        if parsed.day().is_none() && parsed.ordinal().is_none() && parsed.weekday().is_none() {
            parsed.set_day(1).ok()?;
            if parsed.month().is_none() {
                parsed.set_month(1).ok()?;
            }
        }
    }
    let offset = parsed.offset().unwrap_or(0);
    let local = parsed.to_naive_datetime_with_offset(offset).ok()?;
    local.and_utc().timestamp_micros().checked_sub(i64::from(offset) * 1_000_000)
}

/// A column of texts, numbers or times as UTC microseconds.
fn to_micros(array: &ArrayRef, unit: Unit) -> EngineResult<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let of_numbers =
        |numbers: TimestampMicrosecondArray| -> ArrayRef { Arc::new(numbers.with_timezone("UTC")) };
    let beyond = |value: &dyn std::fmt::Display| {
        DataFusionError::Execution(format!("the number {value} is no time that a table can store"))
    };
    match array.data_type() {
        DataType::Int64 => {
            let of = |v: i64| match unit {
                Unit::Given | Unit::Seconds => v.checked_mul(1_000_000),
                Unit::Millis => v.checked_mul(1_000),
                Unit::Micros => Some(v),
                Unit::Nanos => Some(v.div_euclid(1_000)),
            };
            Ok(of_numbers(convert::<Int64Type>(array, |v| of(v).ok_or_else(|| beyond(&v)))?))
        }
        DataType::Float64 => {
            let scale = match unit {
                Unit::Given | Unit::Seconds => 1e6,
                Unit::Millis => 1e3,
                Unit::Micros => 1.0,
                Unit::Nanos => 1e-3,
            };
            let of = |v: f64| {
                // All units but the first are whole numbers.
                let v = if unit == Unit::Given { v } else { v.trunc() };
                let at = (v * scale).round();
                (at.abs() < 9.2e18).then_some(at as i64).ok_or_else(|| beyond(&v))
            };
            Ok(of_numbers(convert::<Float64Type>(array, of)?))
        }
        DataType::Decimal128(_, scale) => {
            let per: i128 = match unit {
                Unit::Given | Unit::Seconds => 1_000_000_000,
                Unit::Millis => 1_000_000,
                Unit::Micros => 1_000,
                Unit::Nanos => 1,
            };
            let scale = i32::from(*scale);
            let whole = u32::try_from(scale.max(0)).ok().and_then(|s| 10i128.checked_pow(s));
            let of = |v: i128| {
                let whole = whole?;
                let v = if unit == Unit::Given { v } else { v - v.rem_euclid(whole) };
                let (units, fraction) = (v.div_euclid(whole), v.rem_euclid(whole));
                let nanos =
                    units.checked_mul(per)?.checked_add(fraction.checked_mul(per)?.div_euclid(whole))?;
                i64::try_from(nanos.div_euclid(1_000)).ok()
            };
            let of = |v: i128| of(v).ok_or_else(|| beyond(&v));
            Ok(of_numbers(convert::<arrow::datatypes::Decimal128Type>(array, of)?))
        }
        DataType::Utf8 => {
            // A text without a zone is UTC, as everywhere in a session.
            Ok(cast_with_options(array, &utc(), &options)?)
        }
        DataType::Timestamp(_, None) => {
            let naive = array.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(naive.with_timezone("UTC")))
        }
        _ => Ok(cast_with_options(array, &utc(), &options)?),
    }
}

fn convert<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    of: impl Fn(T::Native) -> EngineResult<i64>,
) -> EngineResult<TimestampMicrosecondArray> {
    let values: &PrimitiveArray<T> = array.as_primitive::<T>();
    values.try_unary(of)
}
