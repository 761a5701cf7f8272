//! Loads the project for a verb that only reads.

use ops::{Sound, wiring};

use crate::args::Common;
use crate::failure::Failure;

/// The part of the project without faults. Prints to standard error what is left out.
#[allow(clippy::print_stderr, reason = "faults are the verb's output")]
pub async fn sound(common: &Common) -> Result<Sound, Failure> {
    let sound = wiring::sound(&common.location()).await?;
    for fault in &sound.left_out {
        eprintln!("left out: {fault}");
    }
    Ok(sound)
}
