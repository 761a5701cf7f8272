//! Confluent's wire format: a zero byte, the schema id as four bytes big-endian, the body.

const MAGIC: u8 = 0;
const PREFIX: usize = 5;

/// Why bytes are no framed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is not one byte.
    #[error("the message is empty")]
    Empty,
    /// The first byte is not zero: not written with a registry.
    #[error("the message starts with byte {0:#04x}, not with 0x00")]
    Magic(u8),
    /// It ends within the schema id.
    #[error("the message ends before its schema id does")]
    Short,
}

/// Appends `body`, framed with its schema id, to `out`.
pub fn frame(id: u32, body: &[u8], out: &mut Vec<u8>) {
    out.reserve(PREFIX + body.len());
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(body);
}

/// The schema id and the body of a framed message.
pub fn unframe(message: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    match message {
        [] => Err(FrameError::Empty),
        [MAGIC, a, b, c, d, body @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        [MAGIC, ..] => Err(FrameError::Short),
        [other, ..] => Err(FrameError::Magic(*other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_comes_back() {
        let mut out = vec![0xff];
        frame(0x0102_0304, b"body", &mut out);
        assert_eq!(out, b"\xff\x00\x01\x02\x03\x04body");
        assert_eq!(unframe(&out[1..]), Ok((0x0102_0304, &b"body"[..])));
        assert_eq!(unframe(&[0, 0, 0, 0, 7]), Ok((7, &b""[..])));
    }

    #[test]
    fn what_is_not_framed_is_named() {
        assert_eq!(unframe(b""), Err(FrameError::Empty));
        assert_eq!(unframe(b"{}"), Err(FrameError::Magic(b'{')));
        assert_eq!(unframe(&[0, 0, 0, 1]), Err(FrameError::Short));
        assert_eq!(unframe(&[0]), Err(FrameError::Short));
    }
}
