//! Faults: what the gateway's own errors tell beside their codes. Who was refused what, and for how long; why an
//! upstream is away is the operator's to know, from the log, for it names commands and addresses.

use super::Gateway;
use super::client::ClientKey;
use super::tools::{self, Execution};
use crate::mcp::Code;
use crate::wire::text;

impl Gateway {
    /// The data of an error that ends a flight; `execution` is what it is if `execute_tool` made it.
    pub(super) fn fault_data(
        &self,
        code: Code,
        client: ClientKey,
        upstream: usize,
        execution: Option<&Execution>,
    ) -> Option<String> {
        let name = text::quoted(&self.upstreams.get(upstream)?.name);
        let tool = execution.map(|execution| tools::shown(&execution.tool));
        let more = self.fault_members(Some(client), upstream, tool);
        match code {
            Code::ServerUnavailable => {
                let wait = self.retry_after(upstream);
                let wait = wait.map_or_else(String::new, |wait| {
                    format!(",\"retryAfterMs\":{}", wait.as_millis())
                });
                Some(format!(
                    "{{\"upstream\":{name},\"code\":\"SERVER_UNAVAILABLE\"{wait},{more}}}"
                ))
            }
            Code::Timeout => {
                let own = execution.and_then(|execution| execution.timeout);
                let ms = own.unwrap_or(self.settings.limits.request).as_millis();
                Some(format!(
                    "{{\"upstream\":{name},\"code\":\"TIMEOUT\",\"timeoutMs\":{ms},\"timeout_ms\":{ms},{more}}}"
                ))
            }
            Code::CallerRefused => {
                Some(format!("{{\"upstream\":{name},\"code\":\"CALLER_REFUSED\",{more}}}"))
            }
            _ => None,
        }
    }

    /// How long until an upstream's breakers let a call through, where none does now.
    pub(super) fn retry_after(&self, upstream: usize) -> Option<std::time::Duration> {
        let now = self.exchanges.now;
        let Some(balance) = &self.upstreams.get(upstream)?.balance else {
            let only = self.upstreams[upstream].endpoints.start;
            return self.endpoints[only].breaker.retry_after(now);
        };
        let waits =
            balance.endpoints().map(|number| self.endpoints[number].breaker.retry_after(now));
        // One that waits for nothing comes first.
        waits.min().flatten()
    }

    /// What errors tell beside their codes: members, JSON text. Which tool it was is known of calls that
    /// `execute_tool` made.
    pub(super) fn fault_members(
        &self,
        client: Option<ClientKey>,
        upstream: usize,
        tool: Option<&str>,
    ) -> String {
        let principal = client.and_then(|client| Some(self.clients.get(client)?.who.principal));
        let agent = principal.and_then(|principal| self.settings.principals.agent(principal));
        let server = self.upstreams.get(upstream).map_or("", |upstream| &*upstream.name);
        let tool =
            tool.map_or_else(String::new, |tool| format!(",\"tool\":{}", text::quoted(tool)));
        format!(
            "\"agent\":{},\"server\":{}{tool}",
            agent.map_or_else(|| "null".to_owned(), text::quoted),
            text::quoted(server)
        )
    }

    /// An upstream does not know a tool: the error's code, message and data.
    pub(super) fn tool_not_found(
        &self,
        client: ClientKey,
        upstream: usize,
        tool: &str,
    ) -> (Code, String, String) {
        let server = self.upstreams.get(upstream).map_or("", |upstream| &*upstream.name);
        let message = format!(
            "{server} has no tool called {}; get_server_tools tells which there are",
            tools::shown(tool)
        );
        let members = self.fault_members(Some(client), upstream, Some(tools::shown(tool)));
        (Code::ToolNotFound, message, format!("{{\"code\":\"TOOL_NOT_FOUND\",{members}}}"))
    }
}
