//! The files of a project as a person writes them.

/// The first byte says which file; the rest is its text.
pub fn run(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kinds = catalog::shape::files::ALL;
    let (_, shape) = kinds[usize::from(*kind) % kinds.len()];
    for fault in catalog::shape::faults_of(text, shape) {
        assert!(fault.line >= 1 && !fault.message.is_empty());
    }
}
