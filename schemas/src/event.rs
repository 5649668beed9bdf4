//! The event: the one model that every receiver turns its dialect into.

pub mod messaging;
pub mod properties;
pub mod vocabulary;

use vocabulary::MessagingEvent;

/// The text columns of an event.
///
/// The order is the order of the columns in `events`, and the number of each is its bit in the write-ahead log:
/// append only, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TextField {
    /// Unique per account and environment.
    EventId,
    /// `page_view`, `purchase`, …; `$…` is reserved for Touchline.
    EventType,
    /// Anonymous id.
    VisitorId,
    /// Known id.
    UserId,
    /// The session id that the client gave.
    SessionId,
    /// The page's address, as sent.
    Url,
    /// The address's path.
    Path,
    /// The address's host, lower case.
    Host,
    /// The referring address, as sent.
    Referrer,
    /// The referring address's host, lower case.
    ReferrerHost,
    /// The page's title.
    Title,
    /// Campaign source.
    UtmSource,
    /// Campaign medium.
    UtmMedium,
    /// Campaign name.
    UtmCampaign,
    /// Campaign content.
    UtmContent,
    /// Campaign term.
    UtmTerm,
    /// Google Ads click.
    Gclid,
    /// Google Ads click from an app.
    Gbraid,
    /// Google Ads click from the web to an app.
    Wbraid,
    /// Meta click.
    Fbclid,
    /// Microsoft Advertising click.
    Msclkid,
    /// TikTok click.
    Ttclid,
    /// LinkedIn click.
    LiFatId,
    /// Google Display click.
    Dclid,
    /// Masked address of the client.
    Ip,
    /// User agent, as sent.
    UserAgent,
    /// Browser family.
    Browser,
    /// Operating system family.
    Os,
    /// `desktop`, `mobile`, `tablet`, …
    DeviceType,
    /// ISO 3166 country code.
    Country,
    /// ISO 4217 currency of the revenue.
    Currency,
    /// The message of a message event.
    MessageId,
    /// The delivery of a message event.
    DeliveryId,
    /// The variant of a message event.
    Variant,
    /// The channel of a message event.
    Channel,
    /// The rule of a message event.
    RuleName,
    /// The sequence of a message event.
    SequenceId,
    /// The step of a message event.
    StepId,
    /// Everything else that was sent: JSON text, an object.
    Properties,
    /// Which endpoint and client it came from.
    Source,
}

impl TextField {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in order.
    pub const ALL: [TextField; 40] = [
        Self::EventId,
        Self::EventType,
        Self::VisitorId,
        Self::UserId,
        Self::SessionId,
        Self::Url,
        Self::Path,
        Self::Host,
        Self::Referrer,
        Self::ReferrerHost,
        Self::Title,
        Self::UtmSource,
        Self::UtmMedium,
        Self::UtmCampaign,
        Self::UtmContent,
        Self::UtmTerm,
        Self::Gclid,
        Self::Gbraid,
        Self::Wbraid,
        Self::Fbclid,
        Self::Msclkid,
        Self::Ttclid,
        Self::LiFatId,
        Self::Dclid,
        Self::Ip,
        Self::UserAgent,
        Self::Browser,
        Self::Os,
        Self::DeviceType,
        Self::Country,
        Self::Currency,
        Self::MessageId,
        Self::DeliveryId,
        Self::Variant,
        Self::Channel,
        Self::RuleName,
        Self::SequenceId,
        Self::StepId,
        Self::Properties,
        Self::Source,
    ];

    /// The column's name.
    pub const fn column(self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::EventType => "event_type",
            Self::VisitorId => "visitor_id",
            Self::UserId => "user_id",
            Self::SessionId => "session_id",
            Self::Url => "url",
            Self::Path => "path",
            Self::Host => "host",
            Self::Referrer => "referrer",
            Self::ReferrerHost => "referrer_host",
            Self::Title => "title",
            Self::UtmSource => "utm_source",
            Self::UtmMedium => "utm_medium",
            Self::UtmCampaign => "utm_campaign",
            Self::UtmContent => "utm_content",
            Self::UtmTerm => "utm_term",
            Self::Gclid => "gclid",
            Self::Gbraid => "gbraid",
            Self::Wbraid => "wbraid",
            Self::Fbclid => "fbclid",
            Self::Msclkid => "msclkid",
            Self::Ttclid => "ttclid",
            Self::LiFatId => "li_fat_id",
            Self::Dclid => "dclid",
            Self::Ip => "ip",
            Self::UserAgent => "user_agent",
            Self::Browser => "browser",
            Self::Os => "os",
            Self::DeviceType => "device_type",
            Self::Country => "country",
            Self::Currency => "currency",
            Self::MessageId => "message_id",
            Self::DeliveryId => "delivery_id",
            Self::Variant => "variant",
            Self::Channel => "channel",
            Self::RuleName => "rule_name",
            Self::SequenceId => "sequence_id",
            Self::StepId => "step_id",
            Self::Properties => "properties",
            Self::Source => "source",
        }
    }

    /// The field's number: its place in [`Self::ALL`] and its bit in the log.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A page was viewed.
pub const PAGE_VIEW: &str = "page_view";
/// A screen of an app was viewed.
pub const SCREEN_VIEW: &str = "screen_view";
/// A client opened a session of its own.
pub const SESSION_START: &str = "$session_start";
/// Two ids belong to one person.
pub const IDENTIFY: &str = "$identify";
/// Two user ids belong to one person: `user_id` and the member `previous_id` of the properties.
pub const ALIAS: &str = "$alias";
/// A pair of ids does not belong to one person, whatever was said up to now: `user_id`, and the member `previous_id` of
/// the properties or else `visitor_id`.
pub const UNMERGE: &str = "$unmerge";
/// A user belongs to a group: a company, a team, a household.
pub const GROUP: &str = "$group";
/// Event types beginning with `$` that anybody may send, besides those of the [vocabulary](vocabulary) of messaging.
const RESERVED_EVENT_TYPES: [&str; 5] = [SESSION_START, IDENTIFY, ALIAS, UNMERGE, GROUP];

/// Whether a type that begins with `$` is one of ours.
pub fn is_known_reserved_type(event_type: &str) -> bool {
    RESERVED_EVENT_TYPES.contains(&event_type) || MessagingEvent::find(event_type).is_some()
}

/// The prefix of event types that are reserved for Touchline.
pub const RESERVED_PREFIX: char = '$';

/// `source` of events posted to `/api/v1/events`.
pub const SOURCE_NATIVE: &str = "native";
/// `source` of conversions posted to `/api/v1/conversions`: such an event is a conversion whatever its type.
pub const SOURCE_CONVERSION: &str = "conversion";
/// `source` of imported events.
pub const SOURCE_IMPORT: &str = "import";
/// `source` of messages in the form of Segment, which RudderStack speaks as well.
pub const SOURCE_SEGMENT: &str = "segment";
/// `source` of events in the form of PostHog.
pub const SOURCE_POSTHOG: &str = "posthog";
/// `source` of events in the form of Plausible.
pub const SOURCE_PLAUSIBLE: &str = "plausible";
/// `source` of events in the form of Umami.
pub const SOURCE_UMAMI: &str = "umami";

/// Event types that count as conversions unless the account chooses others.
pub const DEFAULT_CONVERSION_EVENT_TYPES: [&str; 2] = ["purchase", "signup"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_in_column_order() {
        for (place, field) in TextField::ALL.iter().enumerate() {
            assert_eq!(field.index(), place, "{}", field.column());
        }
    }
}
