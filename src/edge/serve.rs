//! `ringgate serve`: from a configuration to a running gateway, and from a signal to its end. The one
//! place where the process meets the shards.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::admin::{self, Gatherer};
use super::audit::{Desk, Writer};
use super::config::{Admin, Audit, AuditTo, Config, Count, Driver, Sources};
use super::identity::Identity;
use super::listens;
use super::reload::Reloader;
use super::traces::{Exported, Exporter};
use crate::gateway::Gateway;
use crate::gateway::builtin::Builtin;
use crate::gateway::principal::Principals;
use crate::shard::Renewal;
use crate::shard::rt::DriverChoice;
use crate::transport::{Server, ServerConfig, stdio};

/// Runs the gateway until it is told to stop. With `is_stdio` its one client is on stdin and stdout, and
/// it ends with that client. With `is_watching` the configuration is read again from its `sources` whenever its
/// files change.
pub fn serve(
    config: Config,
    sources: Sources,
    is_stdio: bool,
    is_watching: bool,
) -> Result<(), String> {
    raise_open_files();
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])
        .map_err(|error| error.to_string())?;
    let mut plan = plan(&config, is_stdio);
    let settings = config
        .settings(plan.shard_count())
        .map_err(|error| format!("no random numbers: {error}"))?;
    plan.front = Arc::new(config.front(&Principals::default()).unwrap_or_default());
    plan.tls = config.server_tls(&Principals::default())?;
    let settings = Arc::new(settings);
    let running = Renewal {
        settings: Arc::clone(&settings),
        front: Arc::clone(&plan.front),
        tls: plan.tls.clone(),
        compression: plan.compression,
    };
    let writer = match &config.audit {
        Some(Audit { to: AuditTo::Stdout, .. }) if is_stdio => {
            return Err("stdout is the client's with --stdio: let audit.to name a file".to_owned());
        }
        Some(audit) => {
            let issuer = config.jwt.as_ref().map(|jwt| jwt.issuer.clone());
            let shards = plan.shard_count().into();
            let (desk, writer) = Writer::start(audit, shards, Arc::clone(&settings), issuer)
                .map_err(|error| format!("audit log: {error}"))?;
            plan.audit = Some(desk.sink());
            Some((desk, writer))
        }
        None => None,
    };
    let (desk, writer) = writer.unzip();
    let identity = identity(&config, desk, &mut plan)?;
    let (exported, exporter) = traces(&config, &mut plan)?.unzip();
    let mut server = Server::start(&plan, move |shard| {
        Gateway::new(Arc::clone(&settings), shard, Builtin::new(settings.has_folder()))
    })
    .map_err(|error| error.to_string())?;
    if let Some(identity) = identity {
        identity.start(server.posts()).map_err(|error| error.to_string())?;
    }
    for bound in server.bound() {
        tracing::info!("listening on {bound}");
    }
    // A gateway that belongs to one client is its client's to watch.
    if !is_stdio && let Some(admin) = &config.admin {
        watch_over(admin, &server, exported)?;
    }
    for upstream in &config.upstreams {
        tracing::info!(upstream = upstream.name, prefix = upstream.prefix, "configured");
    }
    if let Some(driver) = server.drivers().first() {
        tracing::info!(shards = server.drivers().len(), ?driver, "serving");
    }
    let handle = signals.handle();
    // A terminal that hangs up takes its programs with it.
    let may_reload = !is_stdio && !std::io::stdin().is_terminal();
    let listeners = server.take_listeners().filter(|_| !is_stdio);
    let reloader = Reloader::new(sources, config, running, (server.ends(), listeners));
    let mut reloader = reloader.map_err(|error| error.to_string())?;
    if is_watching {
        reloader.watch().map_err(|error| error.to_string())?;
    }
    let obeying = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || obey(signals, reloader, writer, may_reload || is_watching))
        .map_err(|error| error.to_string())?;
    if is_stdio && let Some(post) = server.posts().first() {
        let ends = server.ends();
        stdio::serve(post, move || ends.drain()).map_err(|error| error.to_string())?;
    }
    let ended = server.join().map_err(|error| error.to_string());
    drop(plan);
    handle.close();
    if let Ok(Some(writer)) = obeying.join() {
        writer.end();
    }
    if let Some(exporter) = exporter {
        exporter.end();
    }
    tracing::info!("ended");
    ended
}

/// The first signal that ends gives notice and drains, the second ends at once; SIGHUP has the configuration read again; SIGUSR1 and
/// SIGUSR2 have the log tell more and less.
fn obey(
    mut signals: Signals,
    mut reloader: Reloader,
    audit: Option<Writer>,
    may_reload: bool,
) -> Option<Writer> {
    let (mut is_draining, mut is_signalled) = (false, false);
    for signal in signals.forever() {
        match signal {
            SIGUSR1 => super::log::step(true),
            SIGUSR2 => super::log::step(false),
            SIGHUP if is_draining => {}
            SIGHUP if may_reload => reloader.reload(audit.as_ref()),
            // A balancer's hook and its service manager may both ask: only two signals are two.
            _ if admin::LEAVE_ASKED.swap(false, Ordering::AcqRel) => {
                is_draining = true;
                reloader.ends().leave();
            }
            _ if is_signalled => reloader.ends().stop(),
            _ => {
                (is_draining, is_signalled) = (true, true);
                tracing::info!("leaving; a second signal ends at once");
                reloader.ends().leave();
            }
        }
    }
    audit
}

/// What finds out who asks, where anything has to be. It tells the audit log what subjects are called.
fn identity(
    config: &Config,
    desk: Option<Desk>,
    plan: &mut ServerConfig,
) -> Result<Option<Identity>, String> {
    let Some((sink, identity)) = Identity::new(config, desk)? else { return Ok(None) };
    plan.granted = identity.granted();
    plan.identity = Some(sink);
    Ok(Some(identity))
}

/// Where spans go, where any are made, and what sends them there.
fn traces(
    config: &Config,
    plan: &mut ServerConfig,
) -> Result<Option<(Arc<Exported>, Exporter)>, String> {
    let Some(traces) = &config.traces else { return Ok(None) };
    let (sink, exported, exporter) =
        Exporter::start(traces).map_err(|error| format!("traces: {error}"))?;
    plan.traces = Some(sink);
    Ok(Some((exported, exporter)))
}

/// Has the operator look on. An address that nobody named may be another gateway's on this host; that one goes on
/// being looked at, and this one works all the same.
fn watch_over(
    admin: &Admin,
    server: &Server,
    exported: Option<Arc<Exported>>,
) -> Result<(), String> {
    let gatherer = Gatherer::new(server.posts().to_vec(), server.meters().to_vec(), exported);
    match admin::start(admin, gatherer) {
        Ok(address) => tracing::info!("listening on http://{address} (admin)"),
        Err(error) if !admin.is_named => {
            let address = admin.listen;
            tracing::warn!(%error, "there is no admin listener at {address}: set admin.listen");
        }
        Err(error) => return Err(format!("cannot listen on {}: {error}", admin.listen)),
    }
    Ok(())
}

/// What the server is told.
fn plan(config: &Config, is_stdio: bool) -> ServerConfig {
    // A gateway that belongs to one client takes no others.
    let wanted = if is_stdio { Vec::new() } else { listens::wanted(config) };
    ServerConfig {
        listens: wanted.into_iter().map(|one| one.listen).collect(),
        shards: match config.shards.count {
            _ if is_stdio => Some(1),
            Count::Auto => None,
            Count::Fixed(count) => Some(count),
        },
        driver: match config.shards.driver {
            Driver::Auto => DriverChoice::Auto,
            Driver::IoUring => DriverChoice::IoUring,
            Driver::Epoll => DriverChoice::Epoll,
        },
        ring_entries: config.shards.ring_entries,
        spin: Duration::from_micros(config.shards.spin_us.into()),
        limits: Arc::new(config.limits.clone()),
        compression: config.compression,
        upstreams: config.upstreams.iter().cloned().collect(),
        ..ServerConfig::default()
    }
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
