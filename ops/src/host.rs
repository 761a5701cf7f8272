//! Broker and registry inside the process, where the build has them: feature `embedded`.

#[cfg(feature = "embedded")]
pub use embedded::Host;

#[cfg(not(feature = "embedded"))]
pub use none::Host;

#[cfg(not(feature = "embedded"))]
mod none {
    use std::path::Path;

    /// What no process of this build has.
    pub struct Host {
        /// Where the broker would listen.
        pub bootstrap: String,
        /// Where the registry would.
        pub registry_url: String,
    }
    impl Host {
        /// Always an error that says what to do.
        pub async fn join(_: &Path) -> anyhow::Result<Self> {
            anyhow::bail!(
                "this build has no embedded broker: name a target of lakepulse.yaml with `--target`, or build it \
                 with its feature `embedded`"
            )
        }
        /// Nothing runs.
        pub async fn stop(self) {}
    }
}
