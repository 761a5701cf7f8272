//! Confluent's wire format: a zero byte, the schema id as four bytes big-endian, the datum.

/// First byte of a framed message.
const MAGIC: u8 = 0;

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

/// A datum and the registry's id of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The registry's id of the schema.
    pub id: u32,
    /// What stands behind the id.
    pub body: &'a [u8],
}
impl<'a> Frame<'a> {
    /// Bytes before the body.
    pub const LEN: usize = 5;

    /// Takes a message apart.
    #[inline]
    pub fn decode(message: &'a [u8]) -> Result<Self, FrameError> {
        match message {
            [] => Err(FrameError::Empty),
            [MAGIC, a, b, c, d, body @ ..] => Ok(Self { id: u32::from_be_bytes([*a, *b, *c, *d]), body }),
            [MAGIC, ..] => Err(FrameError::Short),
            [other, ..] => Err(FrameError::Magic(*other)),
        }
    }
    /// Appends the message to `out`. With no body it begins a message whose datum is appended behind.
    #[inline]
    pub fn encode(self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.id.to_be_bytes();
        out.reserve(Self::LEN.saturating_add(self.body.len()));
        out.extend_from_slice(&[MAGIC, a, b, c, d]);
        out.extend_from_slice(self.body);
    }
    /// A frame whose body is yet to be appended.
    pub const fn begin(id: u32) -> Frame<'static> {
        Frame { id, body: &[] }
    }
    /// Puts another schema id into a framed message.
    #[inline]
    pub fn set_id(message: &mut [u8], id: u32) {
        message[1..Self::LEN].copy_from_slice(&id.to_be_bytes());
    }
    /// Whether bytes begin as a framed message does. No JSON does.
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        bytes.first() == Some(&MAGIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_comes_back() {
        let mut out = vec![0xff];
        Frame { id: 0x0102_0304, body: b"body" }.encode(&mut out);
        assert_eq!(out, b"\xff\x00\x01\x02\x03\x04body");
        assert_eq!(Frame::decode(&out[1..]), Ok(Frame { id: 0x0102_0304, body: b"body" }));
        assert_eq!(Frame::decode(&[0, 0, 0, 0, 7]), Ok(Frame { id: 7, body: b"" }));
    }

    #[test]
    fn what_is_not_framed_is_named() {
        assert_eq!(Frame::decode(b""), Err(FrameError::Empty));
        assert_eq!(Frame::decode(b"{}"), Err(FrameError::Magic(b'{')));
        assert_eq!(Frame::decode(&[0, 0, 0, 1]), Err(FrameError::Short));
        assert_eq!(Frame::decode(&[0]), Err(FrameError::Short));
    }

    #[test]
    fn a_message_gets_another_id_and_keeps_its_body() {
        let mut message = Vec::new();
        Frame::begin(1).encode(&mut message);
        message.extend_from_slice(b"body");
        Frame::set_id(&mut message, 0x0a0b_0c0d);
        assert_eq!(Frame::decode(&message), Ok(Frame { id: 0x0a0b_0c0d, body: b"body" }));
        assert!(Frame::is_begun_by(&message) && !Frame::is_begun_by(b"{}") && !Frame::is_begun_by(b""));
    }
}
