//! Broker and registry inside the process, if the build has the feature `embedded`.

#[cfg(feature = "embedded")]
pub use embedded::Host;

#[cfg(not(feature = "embedded"))]
pub use none::Host;

#[cfg(not(feature = "embedded"))]
mod none {
    use std::path::Path;

    /// Stands in for the host in a build without the feature. It is never constructed.
    pub struct Host {
        /// Address of the broker.
        pub bootstrap: String,
        /// Address of the registry.
        pub registry_url: String,
    }
    impl Host {
        /// Always returns an error that says what to do.
        pub async fn join(_: &Path) -> anyhow::Result<Self> {
            anyhow::bail!(
                "this build has no embedded broker: name a target of lakepulse.yaml with `--target`, or build it \
                 with its feature `embedded`"
            )
        }
        /// Does nothing.
        pub async fn stop(self) {}
    }
}
