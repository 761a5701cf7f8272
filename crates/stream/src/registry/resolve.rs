//! Puts referenced schemas in the place of their names.

use apache_avro::Schema;

use super::RegistryError;

/// `schema` as one text that refers to nothing outside itself. `parts` are the schemas it needs, in
/// any order. Names, defaults, docs and logical types are kept; formatting is not.
pub(super) fn inline(schema: &str, parts: &[String]) -> Result<String, RegistryError> {
    let bad = |reason: String| RegistryError::Answer { what: "a schema with references".to_owned(), reason };
    let (mut schema, parts) =
        Schema::parse_str_with_list(schema, parts).map_err(|error| bad(error.to_string()))?;
    schema.denormalize(&parts).map_err(|error| bad(error.to_string()))?;
    serde_json::to_string(&schema).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_put_in_its_place() {
        let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
            {"name":"id","type":"long","doc":"the id"},
            {"name":"price","type":"shop.Money"},
            {"name":"tax","type":["null","shop.Money"],"default":null}]}"#;
        let money = r#"{"type":"record","name":"Money","namespace":"shop","fields":[
            {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}}]}"#;
        let whole = inline(order, &[money.to_owned()]).expect("resolvable");
        Schema::parse_str(&whole).expect("stands alone");
        for kept in ["\"logicalType\":\"decimal\"", "\"scale\":2", "\"default\":null", "the id"] {
            assert!(whole.contains(kept), "{kept} is lost in {whole}");
        }
    }

    #[test]
    fn a_missing_part_is_an_error() {
        let order = r#"{"type":"record","name":"Order","fields":[{"name":"p","type":"Money"}]}"#;
        assert!(inline(order, &[]).is_err());
    }
}
