//! The reference project and the simulator have the same tables.

use std::path::Path;

use catalog::{Connection, Envelope, Kind, Project};
use model::TableName;

use crate::row::ColumnChange;
use crate::tables::SourceTable;

pub async fn project() -> Project {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match catalog::load(&dir, "embedded").await {
        Ok(project) => project,
        Err(faults) => panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

#[tokio::test]
async fn every_table_has_a_stream_a_topic_and_a_silver_table_with_its_columns() {
    let catalog = project().await.catalog;
    let source = &catalog.sources["wwi"];
    assert!(matches!(source.connection, Connection::WwiSim(_)));
    assert_eq!(source.streams.len(), SourceTable::ALL.len());
    for table in SourceTable::ALL {
        let name = table.name();
        let topic = &catalog.topics[&source.streams[name]];
        assert_eq!(topic.key, [table.key()]);
        assert_eq!((topic.envelope, topic.full_identity), (Envelope::Debezium, true));
        let by_customer = matches!(table, SourceTable::Orders | SourceTable::OrderLines);
        assert_eq!(topic.partition_by, [if by_customer { "customer_id" } else { table.key() }]);

        let silver = &catalog.models[&format!("silver.{name}").parse::<TableName>().expect("a table name")];
        assert_eq!((silver.kind, silver.source.as_ref()), (Kind::Scd1, Some(&topic.table)));
        assert_eq!(silver.keys, [table.key()]);
        let columns: Vec<&str> = silver.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let expected = table.columns().iter().filter(|column| column.change != ColumnChange::Added);
        assert_eq!(columns, expected.map(|column| column.name).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn gold_tables_are_published() {
    let catalog = project().await.catalog;
    for name in ["customer_analytics", "daily_sales_metrics", "inventory_status"] {
        let gold = &catalog.models[&format!("gold.{name}").parse::<TableName>().expect("a table name")];
        assert_eq!(gold.kind, Kind::Table);
        let topic = gold.publish.as_ref().map(ToString::to_string);
        assert_eq!(topic, Some(format!("lakepulse.gold.{name}")));
    }
}
