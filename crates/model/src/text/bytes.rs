//! Bytes as text. The form is declared, because no form can be recognised from the text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Unread;

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BytesForm {
    /// Base64 of RFC 4648 §4, with its padding.
    Base64,
    /// Two hexadecimal digits a byte, of either case.
    Hex,
    /// The text's own bytes, in UTF-8.
    Text,
}

/// How a decimal is written in a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecimalForm {
    /// Its digits: `12.50`.
    Text,
    /// Base64 of its unscaled number, big-endian two's complement, as Kafka Connect writes it.
    Base64,
}

/// Parses bytes in a form.
pub fn bytes(text: &str, form: BytesForm) -> Result<Vec<u8>, Unread> {
    match form {
        BytesForm::Base64 => STANDARD.decode(text).map_err(|_| Unread::Form),
        BytesForm::Hex => hexadecimal(text.as_bytes()).ok_or(Unread::Form),
        BytesForm::Text => Ok(text.as_bytes().to_vec()),
    }
}

/// Prints bytes in a form. `None`: the bytes are not valid in it.
pub fn print_bytes(bytes: &[u8], form: BytesForm) -> Option<String> {
    match form {
        BytesForm::Base64 => Some(STANDARD.encode(bytes)),
        BytesForm::Hex => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        BytesForm::Text => std::str::from_utf8(bytes).ok().map(str::to_owned),
    }
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok()).collect()
}

/// The 16 bytes of a UUID in its hyphenated form.
pub fn uuid(text: &str) -> Result<[u8; 16], Unread> {
    let parts: Vec<&str> = text.split('-').collect();
    if !parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) {
        return Err(Unread::Form);
    }
    let bytes = hexadecimal(parts.concat().as_bytes()).ok_or(Unread::Form)?;
    bytes.try_into().map_err(|_| Unread::Form)
}
