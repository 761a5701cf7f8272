//! Who follows a gold table: tables of the plan, and the followers of the stage.

use std::sync::Arc;

use catalog::{Catalog, Model};
use lake::Followers;

/// Everyone who still needs versions of a model's table. `beside`: the followers of gold's tables.
pub fn followers(catalog: &Catalog, model: &Model, beside: &stage::Followers) -> Followers {
    Followers { tables: catalog.followers(&model.name), elsewhere: Arc::new(beside.clone()) }
}
