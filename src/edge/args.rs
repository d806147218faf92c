//! The command line. What the words mean is done elsewhere; this is only how they are spelled.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::address::Address;
use crate::wire::block::Codec;

/// What the process ends with.
pub mod exit {
    /// Done as asked.
    pub const DONE: u8 = 0;
    /// Understood, but it failed: a tool said so, a server could not be reached, the gateway could
    /// not start, this host fails a check.
    pub const FAILED: u8 = 1;
    /// Not understood: wrong arguments or a wrong configuration. The command line parser's too.
    pub const MISUSED: u8 = 2;
}

const AFTER: &str = "\
Exit codes: 0 done; 1 failed (a tool or server answered with an error, a server cannot be reached, \
the gateway cannot start, doctor found a failing check); 2 wrong arguments or configuration.

A section's settings can be given as RINGGATE_<SECTION>__<KEY>, and an upstream's as \
RINGGATE_UPSTREAMS__<NAME>__<KEY>, which wins over the file: RINGGATE_TCP__LISTEN=127.0.0.1:9000. \
Keys of tables below these stand in the file alone.";

/// One address in front of all your MCP servers.
#[derive(Debug, Parser)]
#[command(name = "ringgate", version, about, after_help = AFTER, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Without a command, `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the gateway. With no file: the built-in server, listening on loopback
    Serve(Serve),
    /// Is a stdio MCP server that is the gateway at URL, for clients that speak only stdio
    Connect {
        /// `tcp://HOST:PORT`, `unix:///PATH`, `http://HOST:PORT/PATH` or `ws://HOST:PORT/PATH`; over TLS `tls`, `https`
        /// and `wss`, where whom this system believes is believed, or whom `SSL_CERT_FILE` names
        #[arg(value_parser = Address::parse)]
        url: Address,
        /// Has what is sent and answered compressed, `lz4` or `zstd`, where URL is `tcp` or `unix` and leads to a ringgate
        #[arg(long, value_name = "CODEC", value_parser = codec)]
        compress: Option<Codec>,
    },
    /// Lists the tools at URL
    Tools {
        /// `tcp://HOST:PORT`, `unix:///PATH`, `http://HOST:PORT/PATH` or `ws://HOST:PORT/PATH`; over TLS `tls`, `https`
        /// and `wss`, where whom this system believes is believed, or whom `SSL_CERT_FILE` names
        #[arg(value_parser = Address::parse)]
        url: Address,
        /// Prints the server's tool objects as a JSON array
        #[arg(long)]
        json: bool,
        /// Has what is sent and answered compressed, `lz4` or `zstd`, where URL is `tcp` or `unix` and leads to a ringgate
        #[arg(long, value_name = "CODEC", value_parser = codec)]
        compress: Option<Codec>,
    },
    /// Calls a tool at URL and prints what it answers
    Call {
        /// `tcp://HOST:PORT`, `unix:///PATH`, `http://HOST:PORT/PATH` or `ws://HOST:PORT/PATH`; over TLS `tls`, `https`
        /// and `wss`, where whom this system believes is believed, or whom `SSL_CERT_FILE` names
        #[arg(value_parser = Address::parse)]
        url: Address,
        /// The tool's name, as `ringgate tools` prints it
        tool: String,
        /// The tool's arguments, a JSON object
        #[arg(default_value = "{}", value_parser = json_object)]
        arguments: JsonObject,
        /// Prints the whole result as JSON
        #[arg(long)]
        json: bool,
        /// Has what is sent and answered compressed, `lz4` or `zstd`, where URL is `tcp` or `unix` and leads to a ringgate
        #[arg(long, value_name = "CODEC", value_parser = codec)]
        compress: Option<Codec>,
    },
    /// Reads a configuration and says everything that is wrong with it
    Check(Files),
    /// Makes API keys, and the digests that a configuration holds of them
    Keys {
        #[command(subcommand)]
        what: Keys,
    },
    /// Says what this host lacks to run at full speed, and the remedy for each
    Doctor {
        /// Prints the findings as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub enum Keys {
    /// Prints a new key, and the line for [auth.keys] that lets an agent in with it
    New {
        /// The agent that the key is for
        name: String,
    },
    /// Reads keys from stdin, one a line, and prints the digest of each
    Hash,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    pub files: Files,
    /// Serves one client on stdin and stdout instead of the listeners; ends with it
    #[arg(long)]
    pub stdio: bool,
    /// Reads the configuration again whenever one of its files has changed, as SIGHUP does
    #[arg(long)]
    pub watch: bool,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// The configuration, TOML or YAML by its ending
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Servers as other MCP clients list them: mcpServers, or VS Code's servers
    #[arg(long, value_name = "FILE")]
    pub mcp_json: Option<PathBuf>,
}

/// A JSON object given on the command line.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

fn codec(name: &str) -> Result<Codec, String> {
    Codec::named(name).ok_or_else(|| "write lz4 or zstd".to_owned())
}

fn json_object(text: &str) -> Result<JsonObject, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err("the arguments are a JSON object such as '{\"message\": \"hi\"}'".to_owned()),
        Err(error) => {
            Err(format!("not JSON ({error}); write an object such as '{{\"message\": \"hi\"}}'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::try_parse_from(std::iter::once(&"ringgate").chain(words))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn no_command_is_serve_and_takes_its_flags() {
        assert!(parse(&[]).unwrap().command.is_none());
        let args = parse(&["--config", "x.toml", "--stdio"]).unwrap();
        assert!(args.command.is_none() && args.serve.stdio);
        assert_eq!(args.serve.files.config, Some("x.toml".into()));
        assert!(matches!(parse(&["serve", "--stdio"]).unwrap().command, Some(Command::Serve(_))));
    }

    #[test]
    fn a_call_takes_an_object_and_nothing_else() {
        let args = parse(&["call", "tcp://h:1", "add", "{\"a\":1}"]).unwrap();
        let Some(Command::Call { tool, arguments, .. }) = args.command else { panic!("no call") };
        assert_eq!((tool.as_str(), arguments["a"].as_i64()), ("add", Some(1)));
        assert!(parse(&["call", "tcp://h:1", "add"]).is_ok());
        assert!(parse(&["call", "tcp://h:1", "add", "[1]"]).unwrap_err().contains("JSON object"));
        assert!(parse(&["call", "tcp://h:1", "add", "{"]).unwrap_err().contains("not JSON"));
    }

    #[test]
    fn a_url_that_is_none_says_what_would_be_one() {
        let error = parse(&["tools", "ftp://h/mcp"]).unwrap_err();
        assert!(error.contains("write tcp://HOST:PORT"), "{error}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
