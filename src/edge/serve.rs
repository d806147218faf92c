//! `ringgate serve`: from a configuration to a running gateway. The one place where the process meets
//! the shards.

use super::config::Config;

/// Runs the gateway until it is told to stop. With `stdio` its one client is on stdin and stdout, and
/// it ends with that client.
pub fn serve(config: &Config, stdio: bool) -> Result<(), String> {
    raise_open_files();
    for upstream in &config.upstreams {
        tracing::info!(upstream = upstream.name, prefix = upstream.prefix, "configured");
    }
    let _ = stdio;
    Err("the shards are not connected".to_owned())
}

/// Takes as many file descriptors as the system lets this process have: the soft limit is a courtesy
/// to programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files stays as it is");
    }
}
