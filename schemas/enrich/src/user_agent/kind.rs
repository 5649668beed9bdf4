//! What kind of device a user agent speaks of. Lists of device names age within months; the words below are conventions of
//! those who make browsers.

/// Kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceType {
    /// A computer with a keyboard.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet, or a reader of books.
    Tablet,
    /// A television, or a box beside one.
    Tv,
    /// A games console.
    Console,
    /// Nothing of these, or nothing that says what it is; all bots.
    Other,
}

const CONSOLES: [&str; 3] = ["playstation", "nintendo", "xbox"];
const TELEVISIONS: [&str; 19] = [
    "smart-tv",
    "smarttv",
    "smart tv",
    "hbbtv",
    "web0s",
    "netcast",
    "appletv",
    "apple tv",
    "tvos",
    "googletv",
    "google tv",
    "android tv",
    "androidtv",
    "bravia",
    "roku",
    "crkey",
    "viera",
    "; aft",
    "(aft",
];
/// `; kf`: Fire tablets, whose browser leaves Android out.
const TABLETS: [&str; 6] = ["ipad", "kindle", "playbook", "; kf", "tablet;", "tablet)"];
const PHONES: [&str; 10] = [
    "iphone",
    "ipod",
    "windows phone",
    "iemobile",
    "opera mini",
    "opera mobi",
    "blackberry",
    "bb10",
    "kaios",
    "symbian",
];
const DESKTOP_SYSTEMS: [&str; 7] = ["Windows", "macOS", "Linux", "Chrome OS", "FreeBSD", "OpenBSD", "NetBSD"];

impl DeviceType {
    /// The word that stands in columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Tv => "tv",
            Self::Console => "console",
            Self::Other => "other",
        }
    }

    /// The kind by a user agent of an operating system's family.
    pub(super) fn of(user_agent: &str, os: &str, is_bot: bool) -> Self {
        if is_bot {
            return Self::Other;
        }
        let text = user_agent.to_ascii_lowercase();
        let has_any = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // Televisions of Android and Windows on tablets name those too, so the special comes first.
        if has_any(&CONSOLES) {
            Self::Console
        } else if has_any(&TELEVISIONS) || os == "tvOS" || (os == "Tizen" && text.contains("tv")) {
            Self::Tv
        } else if has_any(&TABLETS) && os != "Windows" {
            Self::Tablet
        } else if has_any(&PHONES) {
            Self::Mobile
        } else if os == "Android" {
            // Browsers on tablets leave `Mobile` out, and so do all apps.
            let is_tablet = text.starts_with("mozilla/") && !text.contains("mobile");
            if is_tablet { Self::Tablet } else { Self::Mobile }
        } else if os == "iOS" || os == "HarmonyOS" || text.contains("mobile") {
            Self::Mobile
        } else if DESKTOP_SYSTEMS.contains(&os) {
            Self::Desktop
        } else {
            Self::Other
        }
    }
}
