//! Compression of listeners and upstreams, as it is configured, and what is wrong in it.

use super::*;
use crate::gateway::settings::Peer;
use crate::wire::block::{Codec, Codecs};

#[test]
fn listeners_take_every_codec_unless_they_say_otherwise() {
    let config = toml("").unwrap();
    assert_eq!(config.compression, Compression { tcp: Codecs::ALL, unix: Codecs::ALL });
    let config = toml("[tcp]\ncompression = [\"lz4\"]\n[unix]\ncompression = \"off\"\n").unwrap();
    let lz4 = Codecs::NONE.with(Codec::Lz4);
    assert_eq!(config.compression, Compression { tcp: lz4, unix: Codecs::NONE });
    assert_eq!(toml("[tcp]\ncompression = []\n").unwrap().compression.tcp, Codecs::NONE);
}

#[test]
fn upstreams_and_endpoints_on_byte_streams_can_be_compressed() {
    let config = toml(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:9001\"\ncompression = \"lz4\"\n\
         [[upstreams.b.endpoints]]\nurl = \"unix:///run/x.sock\"\ncompression = \"zstd\"\n\
         [[upstreams.b.endpoints]]\nurl = \"tcp://127.0.0.1:9002\"\ncompression = \"off\"\n",
    )
    .unwrap();
    let tcp = Peer::Tcp(([127, 0, 0, 1], 9001).into());
    assert_eq!(config.upstreams[0].target, Target::Blocks { peer: tcp, codec: Codec::Lz4 });
    let unix = Peer::Unix("/run/x.sock".into());
    assert_eq!(config.upstreams[1].target, Target::Blocks { peer: unix, codec: Codec::Zstd });
    let plain = &config.upstreams[1].spread.others[0].target;
    assert_eq!(*plain, Target::Tcp { address: ([127, 0, 0, 1], 9002).into() });
}

#[test]
fn bodies_and_messages_are_compressed_where_that_was_said() {
    let of = |text: &str| {
        let config = toml(text).unwrap();
        let front = &config.http.as_ref().unwrap().front;
        (front.packs_answers, front.packs_messages)
    };
    assert_eq!(of(""), (false, false));
    assert_eq!(of("[http]\ncompression = true\n"), (true, false));
    assert_eq!(of("[http]\nwebsocket_compression = true\n"), (false, true));
    for url in ["http://127.0.0.1:1/mcp", "ws://127.0.0.1:1/ws"] {
        for (word, packs) in [("on", true), ("off", false)] {
            let text = format!("[upstreams.a]\nurl = {url:?}\ncompression = {word:?}\n");
            match &toml(&text).unwrap().upstreams[0].target {
                Target::Http(to) | Target::WebSocket(to) => assert_eq!(to.packs, packs, "{url}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_compressed_says_what_can() {
    for (text, says) in [
        (
            "[tcp]\ncompression = [\"lz4\", \"brotli\"]\n",
            "c.toml:2: tcp.compression: there is no codec \"brotli\"",
        ),
        (
            "[upstreams.a]\nurl = \"http://127.0.0.1:1/mcp\"\ncompression = \"lz4\"\n",
            "it goes with a tcp:// or unix:// URL of a gateway",
        ),
        (
            "[upstreams.a]\nurl = \"tls://127.0.0.1:1\"\ncompression = \"lz4\"\n",
            "is not to be had over TLS",
        ),
        (
            "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\ncompression = \"on\"\n",
            "is of HTTP and WebSocket when it is \"on\"",
        ),
        (
            "[upstreams.a]\ncommand = \"sh\"\ncompression = \"lz4\"\n",
            "has no meaning beside command",
        ),
        (
            "[upstreams.a]\nurl = \"tcp://127.0.0.1:7420\"\ncompression = \"lz4\"\n",
            "is the gateway's own listener",
        ),
        (
            "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\ncompression = \"gzip\"\n",
            "\"off\" or \"lz4\" or \"zstd\"",
        ),
    ] {
        let faults = toml(text).unwrap_err();
        assert!(faults.contains(says), "{text}: {faults}");
    }
}
