//! What a conversion is worth: its revenue, a fixed amount, or a number among its properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal128Builder, StringViewArray};
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use serde_json::value::RawValue;
use touchline_schemas::control::ConversionValue;
use touchline_schemas::money::parse_e4;
use touchline_schemas::tables::money_type;

/// The worth of a conversion in ten-thousandths, if it has any. Without a rule for its type it is the revenue.
pub fn value_of(rule: Option<&ConversionValue>, revenue: Option<i128>, properties: Option<&str>) -> Option<i128> {
    match rule {
        None | Some(ConversionValue::Revenue) => revenue,
        Some(ConversionValue::Fixed(amount)) => parse_e4(amount).map(i128::from),
        Some(ConversionValue::Property(path)) => number_at(properties?, path),
    }
}

/// The number, or the text of one, at a path of members joined by dots. It is read digit by digit: an amount must not
/// pass through a binary fraction.
fn number_at(json: &str, path: &str) -> Option<i128> {
    let mut found = json;
    for name in path.split('.') {
        found = serde_json::from_str::<BTreeMap<String, &RawValue>>(found).ok()?.remove(name)?.get();
    }
    let text = serde_json::from_str::<String>(found).ok();
    parse_e4(text.as_deref().unwrap_or(found)).map(i128::from)
}

/// `conversion_value(event_type, revenue, properties)` with an account's rules.
pub fn conversion_value(rules: BTreeMap<String, ConversionValue>) -> ScalarUDF {
    let inputs = vec![DataType::Utf8View, money_type(), DataType::Utf8View];
    let evaluate = move |arguments: &[ColumnarValue]| -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let values = values(&rules, arrays[0].as_string_view(), arrays[1].as_primitive(), arrays[2].as_string_view());
        Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
    };
    create_udf("conversion_value", inputs, money_type(), Volatility::Immutable, Arc::new(evaluate))
}

fn values(
    rules: &BTreeMap<String, ConversionValue>,
    event_types: &StringViewArray,
    revenues: &arrow::array::PrimitiveArray<Decimal128Type>,
    properties: &StringViewArray,
) -> Decimal128Array {
    let mut values = Decimal128Builder::with_capacity(event_types.len()).with_data_type(money_type());
    for row in 0..event_types.len() {
        let rule = event_types.is_valid(row).then(|| rules.get(event_types.value(row))).flatten();
        let revenue = revenues.is_valid(row).then(|| revenues.value(row));
        values.append_option(value_of(rule, revenue, properties.is_valid(row).then(|| properties.value(row))));
    }
    values.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_what_a_conversion_is_worth() {
        use ConversionValue::{Fixed, Property, Revenue};
        let fixed = |text: &str| Some(Fixed(text.to_owned()));
        let property = |path: &str| Some(Property(path.to_owned()));
        let json = r#"{"plan":{"price":"12.50","seats":3},"score":0.1,"name":"pro","none":null,"a.b":7}"#;
        for (rule, revenue, properties, expected) in [
            (None, Some(5), Some(json), Some(5)),
            (None, None, Some(json), None),
            (Some(Revenue), Some(-5), None, Some(-5)),
            (fixed("25"), Some(5), None, Some(250_000)),
            (fixed("-0.5"), None, None, Some(-5_000)),
            (fixed("much"), Some(5), None, None),
            (property("plan.price"), Some(5), Some(json), Some(125_000)),
            (property("plan.seats"), None, Some(json), Some(30_000)),
            (property("score"), None, Some(json), Some(1_000)),
            (property("name"), None, Some(json), None),
            (property("none"), None, Some(json), None),
            (property("plan"), None, Some(json), None),
            (property("plan.price.net"), None, Some(json), None),
            (property("absent"), Some(5), Some(json), None),
            (property("score"), Some(5), None, None),
            (property("score"), None, Some("not json"), None),
        ] {
            assert_eq!(value_of(rule.as_ref(), revenue, properties), expected, "{rule:?}");
        }
    }
}
