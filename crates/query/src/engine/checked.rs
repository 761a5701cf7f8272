//! Arithmetic of integers and decimals that returns an error with the operation's name on overflow.
//!
//! The engine wraps integers (apache/datafusion#17539, no session setting reaches the flag of its
//! expressions) and does not check whether a decimal exceeds its type's precision (apache/datafusion#16406).
//! Floats follow IEEE 754 and stay with the engine, as do times.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Datum};
use arrow::compute::kernels::numeric::{add, div, mul, neg, rem, sub};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type};
use arrow::error::ArrowError;
use datafusion::common::Result as EngineResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// Names of the functions; models write operators instead.
pub(crate) const NAMES: [&str; 6] = [
    "checked_add",
    "checked_subtract",
    "checked_multiply",
    "checked_divide",
    "checked_modulo",
    "checked_negate",
];

/// The function for the operator over these types, if the engine's own is not exact.
pub(super) fn binary(op: Operator, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    if !is_exact(left) || !is_exact(right) {
        return None;
    }
    let decimal = left.is_decimal() || right.is_decimal();
    let at = match op {
        Operator::Plus => 0,
        Operator::Minus => 1,
        Operator::Multiply => 2,
        Operator::Divide if decimal => 3,
        Operator::Modulo if decimal => 4,
        _ => return None,
    };
    Some(Arc::clone(&BINARY[at]))
}

fn is_exact(given: &DataType) -> bool {
    given.is_integer() || given.is_decimal()
}

/// The function that negates a value of this type, if the engine's own is not exact.
pub(super) fn negation(given: &DataType) -> Option<Arc<ScalarUDF>> {
    given.is_signed_integer().then(|| Arc::clone(&NEGATION))
}

/// All functions, to be registered by name in a session.
pub(super) fn functions() -> Vec<ScalarUDF> {
    BINARY.iter().chain([&*NEGATION]).map(|f| f.as_ref().clone()).collect()
}

static BINARY: LazyLock<[Arc<ScalarUDF>; 5]> = LazyLock::new(|| {
    use Operator as O;
    let ops = [O::Plus, O::Minus, O::Multiply, O::Divide, O::Modulo];
    let mut at = 0;
    ops.map(|op| {
        let name = NAMES[at];
        at += 1;
        Arc::new(ScalarUDF::new_from_impl(Binary {
            name,
            op,
            signature: Signature::any(2, Volatility::Immutable),
        }))
    })
});

static NEGATION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(Negation { signature: Signature::any(1, Volatility::Immutable) }))
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct Binary {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for Binary {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, given: &[DataType]) -> EngineResult<DataType> {
        let [left, right] = given else {
            return Err(DataFusionError::Plan(format!("`{}` takes two numbers", self.name)));
        };
        // A call by name may have time arguments, whose result type differs from what the function declares.
        if !is_exact(left) || !is_exact(right) {
            return Err(DataFusionError::Plan(format!("`{}` takes integers and decimals", self.name)));
        }
        BinaryTypeCoercer::new(left, &self.op, right).get_result_type()
    }
    fn is_strict(&self) -> bool {
        true
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Plan(format!("`{}` takes two numbers", self.name)));
        };
        let kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError> = match self.op {
            Operator::Plus => add,
            Operator::Minus => sub,
            Operator::Multiply => mul,
            Operator::Divide => div,
            _ => rem,
        };
        let types = (left.data_type(), right.data_type());
        apply(left, right, |l, r| fits(kernel(l, r)?))
            .map_err(|e| overflow(e, &|| format!("{} {} {}", types.0, self.op, types.1)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Negation {
    signature: Signature,
}

impl ScalarUDFImpl for Negation {
    fn name(&self) -> &str {
        NAMES[5]
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, given: &[DataType]) -> EngineResult<DataType> {
        given.first().cloned().ok_or_else(|| DataFusionError::Plan("a negation takes one number".to_owned()))
    }
    fn is_strict(&self) -> bool {
        true
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Plan("a negation takes one number".to_owned()));
        };
        let negated =
            neg(array.as_ref()).map_err(|e| overflow(e.into(), &|| format!("- {}", array.data_type())))?;
        match &args.args[0] {
            ColumnarValue::Array(_) => Ok(ColumnarValue::Array(negated)),
            ColumnarValue::Scalar(_) => {
                Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&negated, 0)?))
            }
        }
    }
}

/// The array, if none of its decimals exceeds the precision of its type.
pub(super) fn fits(array: ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Decimal128(precision, _) => {
            array.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision)?;
        }
        DataType::Decimal256(precision, _) => {
            array.as_primitive::<Decimal256Type>().validate_decimal_precision(*precision)?;
        }
        _ => {}
    }
    Ok(array)
}

/// The engine's error prefixed with the operation, if a person can act on it.
fn overflow(error: DataFusionError, operation: &dyn Fn() -> String) -> DataFusionError {
    let DataFusionError::ArrowError(cause, _) = &error else { return error };
    match cause.as_ref() {
        ArrowError::ArithmeticOverflow(_) | ArrowError::InvalidArgumentError(_) => {
            let what = format!(
                "the result of `{}` does not fit its type ({cause}): cast the operands to a wider type",
                operation()
            );
            DataFusionError::ArrowError(Box::new(ArrowError::ArithmeticOverflow(what)), None)
        }
        _ => error,
    }
}
