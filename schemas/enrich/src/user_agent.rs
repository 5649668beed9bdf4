//! What a user agent says: browser, operating system, kind of device, and whether a crawler or a tool sent it.

mod families;
mod kind;

use std::fmt;
use std::sync::OnceLock;

use hashbrown::HashMap;
use isbot::Bots;
use parking_lot::RwLock;
use serde::Deserialize;

pub use kind::DeviceType;

/// The lists that judge, with their versions. Whoever changes one of them, or the tables beside this file, changes this.
pub const LISTS: &str = "uap-core 73e7340c3ed8 (202610), isbot 0.1.3, rules 1";

/// Patterns of uap-core; see `data/from_wheel.py`.
const PATTERNS: &str = include_str!("../data/uap-core.json");
/// User agents that are remembered; a site sees a few hundred.
const REMEMBERED: usize = 4_096;
/// Longer ones are judged each time.
const REMEMBERED_BYTES: usize = 512;
/// No more of a user agent is looked at: what is longer was made up to keep somebody busy.
const JUDGED_BYTES: usize = 2_048;

/// What is known of a device by its user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Family of the browser, or of the app.
    pub browser: &'static str,
    /// Family of the operating system.
    pub os: &'static str,
    /// Kind of device.
    pub device_type: DeviceType,
    /// Whether a crawler or a tool sent it.
    pub is_bot: bool,
}

/// Judges user agents, and remembers its judgements: at most 4,096, with at most 512 bytes of text each.
#[derive(Default)]
pub(crate) struct UserAgents {
    /// Compiled when the first user agent comes: that takes a tenth of a second and 12 MB, and most commands never see one.
    patterns: OnceLock<Patterns>,
    judged: RwLock<HashMap<String, Device>>,
}

impl fmt::Debug for UserAgents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAgents").field("judged", &self.judged.read().len()).finish_non_exhaustive()
    }
}

impl UserAgents {
    /// What is known by a user agent. What looks like nothing known is taken for a person's: apps have user agents of
    /// their own.
    pub fn judge(&self, user_agent: &str) -> Device {
        if let Some(device) = self.judged.read().get(user_agent) {
            return *device;
        }
        let device = self.patterns.get_or_init(Patterns::compiled).judge(user_agent);
        if user_agent.len() > REMEMBERED_BYTES {
            return device;
        }
        let mut judged = self.judged.write();
        if judged.len() >= REMEMBERED {
            judged.clear();
        }
        judged.insert(user_agent.to_owned(), device);
        device
    }
}

struct Patterns {
    bots: Bots,
    /// None if the vendored patterns cannot be compiled, which a test sees: nobody's event is worth less for it.
    families: Option<Families>,
}

struct Families {
    browsers: ua_parser::user_agent::Extractor<'static>,
    systems: ua_parser::os::Extractor<'static>,
}

/// uap-core as it is vendored.
#[derive(Deserialize)]
struct Vendored {
    user_agent_parsers: Vec<ua_parser::user_agent::Parser<'static>>,
    os_parsers: Vec<ua_parser::os::Parser<'static>>,
}

/// Why the vendored patterns cannot be used.
#[derive(Debug, thiserror::Error)]
enum PatternError {
    #[error("they cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("they cannot be compiled: {0}")]
    Pattern(#[from] ua_parser::Error),
}

impl Patterns {
    fn compiled() -> Self {
        let families = Families::compiled(PATTERNS);
        if let Err(error) = &families {
            tracing::error!(%error, "browsers and operating systems are not told apart");
        }
        Self { bots: Bots::default(), families: families.ok() }
    }

    fn judge(&self, user_agent: &str) -> Device {
        let user_agent = &user_agent[..user_agent.floor_char_boundary(JUDGED_BYTES)];
        let is_bot = self.bots.is_bot(user_agent);
        let families = self.families.as_ref();
        let browser = families.and_then(|families| families.browsers.extract(user_agent));
        let system = families.and_then(|families| families.systems.extract(user_agent));
        let browser = families::browser(browser.as_ref().map(|found| found.family.as_ref()));
        let os = families::system(system.as_ref().map(|found| found.os.as_ref()));
        Device { browser, os, device_type: DeviceType::of(user_agent, os, is_bot), is_bot }
    }
}

impl Families {
    fn compiled(json: &'static str) -> Result<Self, PatternError> {
        let Vendored { user_agent_parsers, os_parsers } = serde_json::from_str(json)?;
        let browsers = ua_parser::user_agent::Builder::new().push_all(user_agent_parsers)?;
        let systems = ua_parser::os::Builder::new().push_all(os_parsers).map_err(ua_parser::Error::from)?;
        let browsers = browsers.build().map_err(ua_parser::Error::from)?;
        let systems = systems.build().map_err(ua_parser::Error::from)?;
        Ok(Self { browsers, systems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_and_tools_are_bots_and_apps_are_not() {
        let user_agents = UserAgents::default();
        for (user_agent, expected) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true),
            ("curl/8.0", true),
            ("python-requests/2.31", true),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", false),
            ("Mozilla/5.0", false),
            ("MyShop/1.0 CFNetwork/1410 Darwin/22.6.0", false),
        ] {
            assert_eq!(user_agents.judge(user_agent).is_bot, expected, "{user_agent}");
            assert_eq!(user_agents.judge(user_agent).is_bot, expected, "{user_agent}, remembered");
        }
    }

    #[test]
    fn browsers_systems_and_kinds_are_those_that_people_know() {
        let user_agents = UserAgents::default();
        let cases = include_str!("../../../tests/data/user-agents/devices.csv");
        let mut checked = 0;
        for line in cases.lines().skip(1) {
            let fields: Vec<&str> = line.splitn(5, ',').collect();
            let [browser, os, device_type, is_bot, user_agent] = fields[..] else { panic!("{line}") };
            let found = user_agents.judge(user_agent);
            let found = (found.browser, found.os, found.device_type.as_str(), found.is_bot);
            assert_eq!(found, (browser, os, device_type, is_bot == "bot"), "{user_agent}");
            checked += 1;
        }
        assert!(checked > 60, "{checked}");
    }

    #[test]
    fn no_length_and_no_text_is_too_much() {
        let user_agents = UserAgents::default();
        let begins = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 ";
        for long in [begins.to_owned() + &"é".repeat(40_000), begins.to_owned() + &"Chrome/1.".repeat(9_000)] {
            let found = user_agents.judge(&long);
            assert_eq!((found.browser, found.os), ("Firefox", "Linux"));
        }
        let unknown = user_agents.judge("");
        assert_eq!((unknown.browser, unknown.os, unknown.device_type), ("Other", "Other", DeviceType::Other));
        assert!(user_agents.judged.read().keys().all(|remembered| remembered.len() <= REMEMBERED_BYTES));
    }

    #[test]
    fn memory_for_judgements_is_bounded() {
        let user_agents = UserAgents::default();
        for number in 0..REMEMBERED + 10 {
            user_agents.judge(&format!("app {number}"));
        }
        assert!(user_agents.judged.read().len() <= REMEMBERED);
    }

    #[test]
    fn the_version_names_what_is_vendored() {
        #[derive(Deserialize)]
        struct Origin {
            revision: String,
            release: String,
        }
        let origin: Origin = serde_json::from_str(PATTERNS).unwrap();
        let lock = include_str!("../../../Cargo.lock");
        let (_, isbot) = lock.split_once("name = \"isbot\"\nversion = \"").unwrap();
        let (isbot, _) = isbot.split_once('"').unwrap();
        let revision = &origin.revision[..12];
        let lists = format!("uap-core {revision} ({}), isbot {isbot}, rules ", origin.release);
        assert!(LISTS.starts_with(&lists), "{LISTS}, not {lists}");
    }
}
