//! Every request method and every notification of every revision, as closed enums.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

names! {
    /// A request, in either direction.
    Method {
        Initialize = "initialize",
        Ping = "ping",
        Discover = "server/discover",
        ToolsList = "tools/list",
        ToolsCall = "tools/call",
        PromptsList = "prompts/list",
        PromptsGet = "prompts/get",
        ResourcesList = "resources/list",
        TemplatesList = "resources/templates/list",
        ResourcesRead = "resources/read",
        Subscribe = "resources/subscribe",
        Unsubscribe = "resources/unsubscribe",
        Complete = "completion/complete",
        SetLevel = "logging/setLevel",
        Listen = "subscriptions/listen",
        TasksGet = "tasks/get",
        TasksList = "tasks/list",
        TasksResult = "tasks/result",
        TasksCancel = "tasks/cancel",
        TasksUpdate = "tasks/update",
        /// From server to client.
        Sample = "sampling/createMessage",
        /// From server to client.
        Elicit = "elicitation/create",
        /// From server to client.
        RootsList = "roots/list",
    }
}

names! {
    /// A notification, in either direction.
    Notice {
        Initialized = "notifications/initialized",
        Cancelled = "notifications/cancelled",
        Progress = "notifications/progress",
        RootsChanged = "notifications/roots/list_changed",
        Message = "notifications/message",
        ToolsChanged = "notifications/tools/list_changed",
        PromptsChanged = "notifications/prompts/list_changed",
        ResourcesChanged = "notifications/resources/list_changed",
        ResourceUpdated = "notifications/resources/updated",
        Acknowledged = "notifications/subscriptions/acknowledged",
        ElicitationComplete = "notifications/elicitation/complete",
        TaskStatus = "notifications/tasks/status",
        Tasks = "notifications/tasks",
    }
}

impl Method {
    /// A list that is merged from all upstreams, and the member of its result that holds the entries.
    pub const fn list_member(self) -> Option<&'static str> {
        match self {
            Self::ToolsList => Some("tools"),
            Self::PromptsList => Some("prompts"),
            Self::ResourcesList => Some("resources"),
            Self::TemplatesList => Some("resourceTemplates"),
            _ => None,
        }
    }

    /// Whether its answer may be `input_required` (2026-07-28 "Multi round-trip requests").
    pub const fn may_ask(self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead)
    }

    /// Whether its result must carry `ttlMs` and `cacheScope` (2026-07-28 "Caching").
    pub const fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::Discover
                | Self::ToolsList
                | Self::PromptsList
                | Self::ResourcesList
                | Self::TemplatesList
                | Self::ResourcesRead
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_what_writes_it() {
        for &method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
        for &notice in Notice::ALL {
            assert_eq!(Notice::parse(notice.as_str()), Some(notice));
        }
        assert_eq!(Method::parse("subtract"), None);
    }
}
