//! Whether a user agent is a crawler's or a tool's.

use std::fmt;

use hashbrown::HashMap;
use isbot::Bots;
use parking_lot::RwLock;

/// User agents that are remembered; a site sees a few hundred.
const REMEMBERED: usize = 4_096;
/// Longer ones are judged each time.
const REMEMBERED_BYTES: usize = 512;

/// Judges user agents by the patterns of the crate `isbot`, and remembers its judgements.
#[derive(Default)]
pub struct BotList {
    patterns: Bots,
    judged: RwLock<HashMap<String, bool>>,
}

impl fmt::Debug for BotList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BotList").field("judged", &self.judged.read().len()).finish_non_exhaustive()
    }
}

impl BotList {
    /// Whether the user agent is a bot's. What looks like nothing known is taken for a person's: apps have user agents
    /// of their own.
    pub fn is_bot(&self, user_agent: &str) -> bool {
        if let Some(judgement) = self.judged.read().get(user_agent) {
            return *judgement;
        }
        let judgement = self.patterns.is_bot(user_agent);
        if user_agent.len() > REMEMBERED_BYTES {
            return judgement;
        }
        let mut judged = self.judged.write();
        if judged.len() >= REMEMBERED {
            judged.clear();
        }
        judged.insert(user_agent.to_owned(), judgement);
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_and_tools_are_bots_and_apps_are_not() {
        let bots = BotList::default();
        for (user_agent, expected) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true),
            ("curl/8.0", true),
            ("python-requests/2.31", true),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", false),
            ("Mozilla/5.0", false),
            ("MyShop/1.0 CFNetwork/1410 Darwin/22.6.0", false),
        ] {
            assert_eq!(bots.is_bot(user_agent), expected, "{user_agent}");
            assert_eq!(bots.is_bot(user_agent), expected, "{user_agent}, remembered");
        }
    }
}
