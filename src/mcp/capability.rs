//! Capabilities, as far as the gateway acts on them: what a client may be asked, what a server offers.

use super::method::Method;
use super::version::{Era, Version};
use crate::wire::Json;

/// The extension of 2026-07-28 whose calls may be answered with tasks.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// Whether capabilities, of a client or a server, name the extension of tasks.
pub fn declares_tasks(capabilities: Json<'_>) -> bool {
    let tasks = capabilities.get("extensions").and_then(|extensions| extensions.get(TASKS));
    tasks.is_some_and(Json::is_object)
}

/// What a client declared it can be asked (`ClientCapabilities`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Askable {
    pub sampling: bool,
    pub elicitation: bool,
    pub roots: bool,
}

impl Askable {
    pub fn read(capabilities: Json<'_>) -> Self {
        let mut askable = Self::default();
        for member in capabilities.members() {
            // Presence is the declaration; an object is what the schema wants.
            let declared = member.value.is_object();
            match &*member.name() {
                "sampling" => askable.sampling = declared,
                "elicitation" => askable.elicitation = declared,
                "roots" => askable.roots = declared,
                _ => {}
            }
        }
        askable
    }

    pub const fn any(self) -> bool {
        self.sampling || self.elicitation || self.roots
    }

    /// Whether a client that declared this may be sent `method`.
    pub const fn allows(self, method: Method) -> bool {
        match method {
            Method::Sample => self.sampling,
            Method::Elicit => self.elicitation,
            Method::RootsList => self.roots,
            Method::Ping => true,
            _ => false,
        }
    }
}

/// What a server offers (`ServerCapabilities`), or what several offer together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a capability of its own; no two exclude each other"
)]
pub struct Features {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    pub completions: bool,
    pub logging: bool,
    pub subscribe: bool,
    pub list_changed: bool,
    /// Calls may become tasks, in the way of the server's era.
    pub tasks: bool,
}

impl Features {
    /// What is claimed for an upstream that has not said yet: its lists may come later.
    pub const UNKNOWN: Self = Self {
        tools: true,
        prompts: true,
        resources: true,
        completions: true,
        logging: false,
        subscribe: false,
        list_changed: true,
        tasks: false,
    };

    pub fn read(capabilities: Json<'_>) -> Self {
        let mut features = Self::default();
        for member in capabilities.members() {
            if !member.value.is_object() {
                continue;
            }
            let has = |key| member.value.get(key).and_then(Json::as_bool).unwrap_or(false);
            match &*member.name() {
                "tools" => features.tools = true,
                "prompts" => features.prompts = true,
                "resources" => {
                    features.resources = true;
                    features.subscribe |= has("subscribe");
                }
                "completions" => features.completions = true,
                "logging" => features.logging = true,
                "tasks" => {
                    let calls = member.value.get("requests").and_then(|it| it.get("tools"));
                    let calls = calls.and_then(|it| it.get("call"));
                    features.tasks |= calls.is_some_and(Json::is_object);
                }
                "extensions" => features.tasks |= declares_tasks(capabilities),
                _ => continue,
            }
            features.list_changed |= has("listChanged");
        }
        features
    }

    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            tools: self.tools || other.tools,
            prompts: self.prompts || other.prompts,
            resources: self.resources || other.resources,
            completions: self.completions || other.completions,
            logging: self.logging || other.logging,
            subscribe: self.subscribe || other.subscribe,
            list_changed: self.list_changed || other.list_changed,
            tasks: self.tasks || other.tasks,
        }
    }

    /// The `ServerCapabilities` object that offers this to clients of a revision.
    pub fn write(self, version: Version, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        let mut put = |out: &mut Vec<u8>, text: &str| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(text.as_bytes());
        };
        if self.tools {
            put(
                out,
                if self.list_changed { r#""tools":{"listChanged":true}"# } else { r#""tools":{}"# },
            );
        }
        if self.prompts {
            put(
                out,
                if self.list_changed {
                    r#""prompts":{"listChanged":true}"#
                } else {
                    r#""prompts":{}"#
                },
            );
        }
        if self.resources {
            put(
                out,
                match (self.subscribe, self.list_changed) {
                    (true, true) => r#""resources":{"subscribe":true,"listChanged":true}"#,
                    (true, false) => r#""resources":{"subscribe":true}"#,
                    (false, true) => r#""resources":{"listChanged":true}"#,
                    (false, false) => r#""resources":{}"#,
                },
            );
        }
        if self.completions {
            put(out, r#""completions":{}"#);
        }
        if self.logging {
            put(out, r#""logging":{}"#);
        }
        if self.tasks && version.era() == Era::Modern {
            put(out, r#""extensions":{"io.modelcontextprotocol/tasks":{}}"#);
        } else if self.tasks && version == Version::V2025_11_25 {
            put(out, r#""tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_back_as_written() {
        for bits in 0..=u8::MAX {
            let bit = |n: u8| bits & (1 << n) != 0;
            let features = Features {
                tools: bit(0),
                prompts: bit(1),
                resources: bit(2),
                completions: bit(3),
                logging: bit(4),
                subscribe: bit(5) && bit(2),
                list_changed: bit(6) && (bit(0) || bit(1) || bit(2)),
                tasks: bit(7),
            };
            for version in [Version::V2025_11_25, Version::V2026_07_28] {
                let mut out = Vec::new();
                features.write(version, &mut out);
                assert_eq!(Features::read(Json::from_bytes(&out).unwrap()), features);
            }
            let mut out = Vec::new();
            features.write(Version::V2025_06_18, &mut out);
            assert!(!Features::read(Json::from_bytes(&out).unwrap()).tasks, "they came later");
        }
    }

    #[test]
    fn a_client_can_be_asked_only_what_it_declared() {
        let askable = Askable::read(
            Json::parse(r#"{"sampling":{},"roots":true,"experimental":{}}"#).unwrap(),
        );
        assert!(askable.allows(Method::Sample));
        assert!(!askable.allows(Method::RootsList) && !askable.allows(Method::Elicit));
    }
}
