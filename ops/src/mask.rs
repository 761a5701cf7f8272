//! Removes secrets from what the process writes: the last line of defence.
//!
//! Our own types never show them ([`model::Secret`]). We do not control what client libraries log at their
//! lowest level or what a server repeats in its answer, so all output passes through here.

use std::sync::{PoisonError, RwLock};

use model::Secret;

static KNOWN: RwLock<Vec<Secret>> = RwLock::new(Vec::new());

/// Shorter secrets would match parts of ordinary words.
const SHORTEST: usize = 4;

/// Masks these secrets, too, from here on.
pub fn know(secrets: Vec<Secret>) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    known.extend(secrets.into_iter().filter(|secret| secret.reveal().len() >= SHORTEST));
    // If a secret contains another one, it goes first, or part of it would stay.
    known.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
    known.dedup();
}

/// `text` with its secrets masked.
pub fn masked(text: &str) -> String {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    known.iter().fold(text.to_owned(), |text, secret| secret.hide_in(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_are_left_out_the_longer_first_and_short_ones_kept() {
        know(vec!["pine".into(), "pineapple".into(), "xyz".into()]);
        assert_eq!(masked("key pineapple, pine; xyz"), "key ***, ***; xyz");
    }
}
