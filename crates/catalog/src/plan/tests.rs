use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::tables::FEED;
use super::*;
use crate::load::fixture::{self, Files, valid};
use crate::{Kind, columns};

async fn project(files: &Files) -> Project {
    let dir = files.write();
    crate::load(dir.path(), "embedded").await.expect("valid")
}

fn name<T: std::str::FromStr<Err = model::BadName>>(name: &str) -> T {
    name.parse().expect("a name")
}

/// All that `project` declares, as `apply` would have made it.
fn applied(project: &Project) -> Existing {
    let mut existing = Existing::default();
    let topics = project
        .catalog
        .topics
        .values()
        .map(|t| (&t.name, t.partitions, &t.config, &t.key_schema, &t.value_schema));
    for (name, partitions, config, key, value) in topics {
        existing.topics.insert(name.clone(), ExistingTopic { partitions, config: config.clone() });
        for (part, schema) in [("key", key), ("value", value)] {
            let Some(schema) = schema else { continue };
            let subject = ExistingSubject { schema: schema.to_string(), compatibility: None };
            existing.subjects.insert(format!("{name}-{part}"), subject);
        }
    }
    for topic in project.catalog.published.values() {
        let made = ExistingTopic { partitions: topic.partitions, config: topic.config.clone() };
        existing.topics.insert(topic.name.clone(), made);
        for (part, schema) in [("key", &topic.key_schema), ("value", &topic.value_schema)] {
            let subject =
                ExistingSubject { schema: schema.to_string(), compatibility: Some("FULL".to_owned()) };
            existing.subjects.insert(format!("{}-{part}", topic.name), subject);
        }
    }
    let table = |schema, fingerprint| ExistingTable {
        schema,
        fingerprint,
        project: Some(project.name.to_string()),
        description: None,
        properties: BTreeMap::new(),
        rows: Some(10),
        bytes: None,
    };
    for topic in project.catalog.topics.values() {
        let schema = columns::bronze_schema_of(topic).expect("storable").expect("declared");
        let mut made = table(schema, None);
        made.properties.insert(crate::READING.to_owned(), topic.reading());
        made.properties.insert(crate::KEEPS.to_owned(), topic.name.to_string());
        existing.tables.insert(topic.table.clone(), made);
    }
    for model in project.catalog.models.values().filter(|model| model.kind != Kind::View) {
        let mut fields = model.visible().fields().to_vec();
        if model.kind.is_silver() {
            fields.push(Arc::new(Field::new("_offset", DataType::Int64, true)));
        }
        let schema = Arc::new(Schema::new(fields));
        existing.tables.insert(model.name.clone(), table(schema, Some(model.fingerprint)));
    }
    existing
}

fn shown(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn nothing_exists_and_everything_is_created_upstream_first() {
    let project = project(&valid()).await;
    let steps = plan(&project, &Existing::default());
    assert!(steps.iter().all(|step| step.class == Class::Create && step.downstream.is_empty()));
    let objects: Vec<String> = steps.iter().map(|step| step.object.to_string()).collect();
    assert_eq!(
        objects,
        [
            "topic `shop.cdc.orders`",
            "topic `shop.cdc.customers`",
            "topic `shop.sales`",
            "subject `shop.cdc.orders-key`",
            "subject `shop.cdc.orders-value`",
            "subject `shop.cdc.customers-key`",
            "subject `shop.cdc.customers-value`",
            "subject `shop.sales-key`",
            "subject `shop.sales-value`",
            "table `bronze.orders`",
            "table `bronze.customers`",
            "table `silver.customers`",
            "table `silver.orders`",
            "table `gold.sales`",
        ]
    );
}

#[tokio::test]
async fn what_is_applied_needs_nothing() {
    let project = project(&valid()).await;
    assert_eq!(shown(&plan(&project, &applied(&project))), Vec::<String>::new());
}

#[tokio::test]
async fn one_line_of_sql_changed_is_a_rebuild_and_names_what_is_downstream() {
    let before = project(&valid()).await;
    let orders = "models/silver/orders.sql";
    let after = project(&valid().replace(
        orders,
        "FROM changes(bronze.orders)",
        "FROM changes(bronze.orders) WHERE total > 0",
    ))
    .await;
    let steps = plan(&after, &applied(&before));
    assert_eq!(
        shown(&steps),
        [
            "rebuild table `silver.orders`, rebuilt: its SQL, its header or its topic's contract gives other rows in the same columns"
        ]
    );
    let reached: Vec<String> = steps[0].downstream.iter().map(|reached| reached.object.to_string()).collect();
    assert_eq!(
        reached,
        ["table `silver.orders`", "table `gold.big`", "table `gold.sales`", "topic `shop.sales`"]
    );
    assert_eq!(steps[0].downstream[0].rows, Some(10));
}

#[tokio::test]
async fn a_column_more_is_additive_and_a_column_less_breaks() {
    let sales = "models/gold/sales.sql";
    let small = project(&valid()).await;
    let wide = project(&valid().replace(
        sales,
        "sum(o.total) AS total",
        "sum(o.total) AS total, count(*) AS orders",
    ))
    .await;
    assert_eq!(
        shown(&plan(&wide, &applied(&small))),
        [
            "additive subject `shop.sales-value`: `orders` is new",
            "additive table `gold.sales`, rebuilt: `orders` is new"
        ]
    );
    let steps = plan(&small, &applied(&wide));
    assert_eq!(shown(&steps), ["breaking table `gold.sales`, rebuilt: `orders` is gone"]);
}

#[tokio::test]
async fn a_change_feed_comes_with_the_table_or_not_at_all() {
    let quiet = project(&valid()).await;
    let sales = "models/gold/sales.sql";
    let told =
        project(&valid().replace(sales, "publish: shop.sales", "publish: shop.sales\nchange_feed: on")).await;
    let steps = plan(&told, &applied(&quiet));
    assert_eq!((steps.len(), steps[0].class), (1, Class::Incompatible));
    assert!(steps[0].to_string().contains("is off since it was created, not on"), "{}", steps[0]);
    let mut existing = applied(&told);
    let table = existing.tables.get_mut(&name("gold.sales")).expect("there");
    table.properties.insert(FEED.to_owned(), "true".to_owned());
    assert_eq!(shown(&plan(&told, &existing)), Vec::<String>::new());
    assert_eq!(plan(&quiet, &existing)[0].class, Class::Incompatible);
}

#[tokio::test]
async fn another_key_or_type_of_a_gold_table_needs_a_new_topic() {
    let sales = "models/gold/sales.sql";
    let before = project(&valid()).await;
    let text = valid().replace(sales, "sum(o.total) AS total", "CAST(sum(o.total) AS VARCHAR) AS total");
    let text = text.replace(sales, "measure: sum(total)", "measure: count(total)");
    let steps = plan(&project(&text).await, &applied(&before));
    assert_eq!(steps[0].class, Class::Incompatible);
    assert!(steps[0].to_string().contains("such as `shop.sales.v2`"), "{}", steps[0]);
    assert_eq!((steps[1].class, steps[1].rebuild), (Class::Breaking, true));
    let keys = valid().replace(sales, "keys: [customer_id, region]", "keys: [customer_id]");
    let steps = plan(&project(&keys).await, &applied(&before));
    assert_eq!(steps[0].object, Object::Subject("shop.sales-key".to_owned()));
    assert_eq!((steps[0].class, steps[1].class), (Class::Incompatible, Class::Rebuild));
}

#[tokio::test]
async fn a_topics_schema_grows_and_its_bronze_table_with_it() {
    let before = project(&valid()).await;
    let schema = "schemas/orders.avsc";
    let note = "\"fields\": [{\"name\": \"note\", \"type\": [\"null\", \"string\"], \"default\": null},";
    let after = project(&valid().replace(schema, "\"fields\": [", note)).await;
    assert_eq!(
        shown(&plan(&after, &applied(&before))),
        [
            "additive subject `shop.cdc.orders-value`: `note` is new",
            "additive table `bronze.orders`: `note` is new"
        ]
    );
    // The other way round the producer is ahead of the project: nothing to do, nothing to take away.
    assert_eq!(shown(&plan(&before, &applied(&after))), Vec::<String>::new());
    let scaled = project(&valid().replace(schema, "\"scale\": 2", "\"scale\": 3")).await;
    let steps = plan(&scaled, &applied(&before));
    assert_eq!(steps[0].class, Class::Incompatible);
    let bronze =
        steps.iter().find(|step| step.object == Object::Table(name("bronze.orders"))).expect("a step");
    assert_eq!((bronze.class, bronze.rebuild), (Class::Breaking, true));
}

// Holds P5 (docs/invariants.md).
#[tokio::test]
async fn topics_are_changed_only_where_someone_declared_it() {
    let project = project(&valid()).await;
    let mut existing = applied(&project);
    let customers = existing.topics.get_mut(&name::<TopicName>("shop.cdc.customers")).expect("there");
    (customers.partitions, customers.config) = (3, BTreeMap::from([("retention.ms".into(), "1".into())]));
    assert_eq!(shown(&plan(&project, &existing)), Vec::<String>::new());
    let orders = existing.topics.get_mut(&name::<TopicName>("shop.cdc.orders")).expect("there");
    orders.config.insert("retention.ms".into(), "1".into());
    orders.partitions = 1;
    let steps = plan(&project, &existing);
    assert_eq!(steps.len(), 1);
    let text = steps[0].to_string();
    assert!(text.contains("`retention.ms` from 1 to 259200000") && text.contains("`sequence_by`"), "{text}");
    assert_eq!(steps[0].class, Class::Incompatible, "nothing orders the keys of a plain topic");
    existing.topics.get_mut(&name::<TopicName>("shop.cdc.orders")).expect("there").partitions = 9;
    assert!(plan(&project, &existing)[0].to_string().contains("declare 9"));
}

// Holds P5 (docs/invariants.md).
#[tokio::test]
async fn the_position_of_a_commit_orders_keys_over_more_partitions() {
    let ours = fixture::debezium()
        .with("sources/sim.yaml", "connector: wwi-sim\nstreams:\n  orders: lakepulse.cdc.items\n");
    let wider =
        |files: &fixture::Files| files.replace("topics.yaml", "key: [id]", "key: [id]\n    partitions: 8");
    let steps = plan(&project(&wider(&ours)).await, &applied(&project(&ours).await));
    assert_eq!(shown(&steps), ["additive topic `lakepulse.cdc.items`: partitions from 6 to 8"]);
    assert_eq!(steps[0].downstream.len(), 2, "bronze and silver");
    // The positions of another Debezium are those of rows, not of commits.
    let theirs = fixture::debezium();
    let steps = plan(&project(&wider(&theirs)).await, &applied(&project(&theirs).await));
    assert_eq!(steps[0].class, Class::Incompatible);
}

#[tokio::test]
async fn a_table_of_another_project_is_left_alone() {
    let project = project(&valid()).await;
    let mut existing = applied(&project);
    existing.tables.get_mut(&name::<TableName>("gold.sales")).expect("there").project =
        Some("other".to_owned());
    let steps = plan(&project, &existing);
    assert_eq!(
        shown(&steps),
        ["incompatible table `gold.sales`: it belongs to project `other`; rename the model's file"]
    );
}

#[tokio::test]
async fn what_is_only_said_of_a_table_is_metadata() {
    let before = project(&valid()).await;
    let sales = "models/gold/sales.sql";
    let after = valid().replace(sales, "kind: table", "kind: table\nowner: ada\ndescription: what was sold");
    let steps = plan(&project(&after).await, &applied(&before));
    assert_eq!(
        shown(&steps),
        ["metadata table `gold.sales`: its description, property `lakepulse.owner` becomes `ada`"]
    );
}

/// A schema that others registered is theirs: one that is only read otherwise is no reason to stop.
#[tokio::test]
async fn another_way_to_read_what_others_write_needs_nothing() {
    let theirs = project(&fixture::debezium()).await;
    let price = r#"{"name": "price", "type": ["null", "double"], "default": null}"#;
    let at = r#"{"name": "price", "type": ["null", {"type": "long", "logicalType": "timestamp-nanos"}], "default": null}"#;
    let declared = |kind: &str| {
        let field = format!(r#"{{"name": "price", "type": ["null", {kind}], "default": null}}"#);
        fixture::debezium().replace("schemas/items.avsc", price, &field)
    };
    let mut existing = applied(&theirs);
    let subject = existing.subjects.get_mut("lakepulse.cdc.items-value").expect("registered");
    subject.schema = subject
        .schema
        .replace(&serde_json::from_str::<serde_json::Value>(price).expect("JSON").to_string(), at);
    let subject = subject.schema.clone();
    let subject = if subject.contains("timestamp-nanos") { subject } else { subject.replace(price, at) };
    assert!(subject.contains("timestamp-nanos"), "{subject}");
    existing.subjects.get_mut("lakepulse.cdc.items-value").expect("registered").schema = subject;
    let steps_of = |project: &Project| {
        let steps = plan(project, &existing);
        steps.into_iter().filter(|step| matches!(step.object, Object::Subject(_))).collect::<Vec<_>>()
    };
    for kind in [r#""string""#, r#""long""#, r#"{"type": "long", "logicalType": "timestamp-micros"}"#] {
        assert_eq!(steps_of(&project(&declared(kind)).await), vec![], "{kind}");
    }
    let steps = steps_of(&project(&declared(r#""boolean""#)).await);
    assert_eq!(steps.iter().map(|step| step.class).collect::<Vec<_>>(), [Class::Incompatible]);
}

#[tokio::test]
async fn a_topic_that_changes_hands_is_a_step_that_says_what_becomes_of_its_keys() {
    let project = project(&valid()).await;
    let mut existing = applied(&project);
    assert_eq!(plan(&project, &existing).iter().filter(|s| s.class == Class::Handover).count(), 0);
    let strange = Strange { of: Some(name("gold.before")), keys: 3 };
    existing.strange.insert(name("shop.sales"), strange.clone());
    existing.strange.insert(name("shop.of_nobody"), strange);
    let steps = plan(&project, &existing);
    let last = steps.last().expect("a step");
    assert_eq!(last.object, Object::Topic(name("shop.sales")), "behind the tables that it needs");
    let said = last.to_string();
    for word in ["handover", "3 keys of `gold.before`", "`gold.sales`", "deleted"] {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(steps.iter().filter(|s| s.class == Class::Handover).count(), 1);
}

/// What was learned may have room for more than the newest schema, and is nothing to register: the subject is
/// that of whoever writes the topic.
#[tokio::test]
async fn what_was_learned_of_a_topic_is_not_registered() {
    let files = valid().replace("topics.yaml", "    schema: schemas/orders.avsc\n", "");
    let dir = files.write();
    let schemas = crate::LearnedSchemas { value: fixture::ORDERS.to_owned(), key: None };
    let learned = crate::Learned::from([(name("shop.cdc.orders"), schemas)]);
    let project = crate::load_with(dir.path(), "embedded", &learned).await.expect("valid");
    let existing = applied(&project);
    let subjects = |existing: &Existing| {
        let steps = plan(&project, existing);
        let of_topic =
            |step: &Step| matches!(&step.object, Object::Subject(s) if s.starts_with("shop.cdc.orders"));
        steps.into_iter().filter(of_topic).collect::<Vec<_>>()
    };
    for theirs in [
        r#"{"type":"record","name":"Row","fields":[{"name":"order_id","type":"long"}]}"#,
        r#"{"type":"record","name":"Row","fields":[{"name":"u","type":["null","string","long"]}]}"#,
    ] {
        let mut existing = existing.clone();
        let subject = ExistingSubject { schema: theirs.to_owned(), compatibility: None };
        existing.subjects.insert("shop.cdc.orders-value".to_owned(), subject);
        assert_eq!(subjects(&existing), vec![]);
    }
    let mut none = existing.clone();
    none.subjects.clear();
    assert_eq!(subjects(&none), vec![], "nor where nobody has registered anything");
}

/// Rows that bronze has stay as they were read, so no table is computed again: the plan says so.
#[tokio::test]
async fn another_reading_of_records_is_said_and_touches_no_row() {
    let json = |settings: &str| {
        let declared = format!("    schema: schemas/orders.avsc\n    value: json{settings}\n");
        valid().replace("topics.yaml", "    schema: schemas/orders.avsc\n", &declared)
    };
    let existing = applied(&project(&json("")).await);
    let steps = plan(&project(&json("\n    decimals: base64\n    bytes: hex")).await, &existing);
    assert_eq!(
        steps.iter().map(|step| (step.class, step.rebuild)).collect::<Vec<_>>(),
        [(Class::Metadata, false)]
    );
    let said = steps[0].to_string();
    for part in
        ["decimals=base64", "bytes=hex", "instead of bytes=text decimals=text", "10 rows that are there stay"]
    {
        assert!(said.contains(part), "`{part}`: {said}");
    }
    let mut unknown = existing.clone();
    unknown.tables.values_mut().for_each(|table| table.properties.clear());
    let steps = plan(&project(&json("")).await, &unknown);
    assert!(
        steps.iter().all(|step| step.class == Class::Metadata) && !steps.is_empty(),
        "{:?}",
        shown(&steps)
    );
}

#[tokio::test]
async fn a_bronze_table_that_changes_hands_is_a_step_that_says_what_becomes_of_its_rows() {
    let project = project(&valid()).await;
    let mut existing = applied(&project);
    let (name, table) = existing.tables.iter_mut().find(|(name, _)| name.schema() == "bronze").expect("one");
    table.properties.insert(crate::KEEPS.to_owned(), "shop.other".to_owned());
    let name = name.clone();
    let steps = plan(&project, &existing);
    assert_eq!(
        steps.iter().map(|s| (&s.object, s.class)).collect::<Vec<_>>(),
        [(&Object::Table(name), Class::Handover)]
    );
    let said = steps[0].to_string();
    for word in ["`shop.other`", "stay", "accept-loss"] {
        assert!(said.contains(word), "{said}");
    }
}
