//! Responses and requests into bytes. Values are the caller's; that none breaks a line is held here.

use super::reason;

/// Appends a status line.
pub fn status(out: &mut Vec<u8>, minor: u8, status: u16) {
    out.extend_from_slice(if minor == 0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends one header. What would break the line is left out of the value.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    } else {
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `Content-Length`.
pub fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, u64::try_from(length).unwrap_or(u64::MAX));
    out.extend_from_slice(b"\r\n");
}

/// Ends a head.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk of a chunked body; nothing for no data, since that would end it.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let mut size = [0_u8; 16];
    let mut left = data.len();
    let mut used = 0_usize;
    for place in size.iter_mut().rev() {
        if left == 0 {
            break;
        }
        *place = b"0123456789abcdef".get(left & 15).copied().unwrap_or(b'0');
        left >>= 4;
        used = used.saturating_add(1);
    }
    out.extend_from_slice(size.get(size.len().saturating_sub(used)..).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Appends a request line.
pub fn request(out: &mut Vec<u8>, method: &str, target: &str) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut left = number;
    let mut used = 0_usize;
    for place in digits.iter_mut().rev() {
        *place = u8::try_from(left % 10).unwrap_or(0) | b'0';
        left /= 10;
        used = used.saturating_add(1);
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_response_reads_as_the_rfc_writes_it() {
        let response = text(|out| {
            status(out, 1, 200);
            header(out, "x", b"a\r\nb: c");
            length(out, 1_234);
            end(out);
        });
        assert_eq!(response, "HTTP/1.1 200 OK\r\nx: ab: c\r\ncontent-length: 1234\r\n\r\n");
    }

    #[test]
    fn chunks_have_their_size_in_hexadecimal_and_none_is_empty() {
        assert_eq!(text(|out| chunk(out, b"hello")), "5\r\nhello\r\n");
        assert_eq!(text(|out| chunk(out, &[b'a'; 26])), format!("1a\r\n{}\r\n", "a".repeat(26)));
        assert_eq!(text(|out| chunk(out, b"")), "");
        assert_eq!(text(last_chunk), "0\r\n\r\n");
    }
}
