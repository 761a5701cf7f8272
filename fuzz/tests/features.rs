//! No test: where one is built, cargo gives crates the features that they have in every build of the workspace,
//! and so the fuzz targets take 600 crates as they are built already (`cargo xtask fuzz`).
