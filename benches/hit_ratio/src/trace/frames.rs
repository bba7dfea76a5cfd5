//! Decompression of `.zst` files. A file may be several frames one after another, and frames to skip between them.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, Read};

/// The window that the tool `zstd` decompresses unless told otherwise.
const WINDOW_MAX: u64 = 128 << 20;

/// The content of all frames of a source.
pub struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_inside: bool,
}

fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl<R: BufRead> Frames<R> {
    pub fn new(source: R) -> Frames<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_MAX);
        Frames { source, decoder, is_inside: false }
    }

    /// Goes to the next frame that has content, if there is one.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }

    fn verify(&self) -> io::Result<()> {
        let wanted = self.decoder.get_checksum_from_data();
        let is_right = wanted.is_none() || wanted == self.decoder.get_calculated_checksum();
        if is_right { Ok(()) } else { Err(invalid("a checksum does not match")) }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_inside {
                self.is_inside = self.begin()?;
                if !self.is_inside {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(invalid)?;
            }
            let bytes = self.decoder.read(buffer)?;
            if bytes > 0 || buffer.is_empty() {
                return Ok(bytes);
            }
            self.verify()?;
            self.is_inside = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Frames::new(packed).read_to_end(&mut content).map(|_| content)
    }

    fn frame(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    #[test]
    fn frames_are_read_one_after_another() {
        let long: Vec<u8> = (0..300_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let packed = [frame(b"one "), skipped, frame(b""), frame(&long)].concat();
        assert_eq!(unpacked(&packed).unwrap(), [b"one ", &long[..]].concat());
        assert_eq!(unpacked(b"").unwrap(), b"");
    }

    #[test]
    fn damage_is_an_error() {
        let packed = frame(b"some content that is long enough to have a checksum behind it");
        let mut damaged = packed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(unpacked(&damaged).is_err());
        assert!(unpacked(&packed[..packed.len() - 1]).is_err());
        assert!(unpacked(b"no frame at all").is_err());
        assert!(unpacked(&[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]).is_err());
    }
}
