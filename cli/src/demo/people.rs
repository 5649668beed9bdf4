//! Who visits: people with a browser, and bots that say what they are.

use super::chance::Dice;
use super::sequence::Run;

/// A person's browser.
#[derive(Debug)]
pub struct Visitor {
    /// The anonymous id that the shop's snippet keeps.
    pub visitor_id: String,
    /// The id after signing up.
    pub user_id: Option<String>,
    /// The way through the welcome sequence since signing up.
    pub run: Option<Run>,
    /// Address, from a range that is reserved for measurements.
    pub ip: String,
    /// Software.
    pub user_agent: &'static str,
}

const BROWSERS: [(&str, u32); 7] = [
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        30,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        26,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
        22,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
        10,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
        7,
    ),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0", 5),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
        3,
    ),
];

/// The user agents of crawlers and tools.
pub const BOTS: [&str; 6] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "python-requests/2.32.3",
];

impl Visitor {
    /// Somebody new.
    pub fn new(dice: &mut Dice) -> Self {
        let (user_agent, _) = dice.weighted(&BROWSERS, |(_, share)| *share);
        Self { visitor_id: dice.hex(32), user_id: None, run: None, ip: address(dice), user_agent }
    }

    /// Whether the welcome sequence has made them an offer at `at_ms`.
    pub fn has_offer(&self, at_ms: i64) -> bool {
        self.run.as_ref().is_some_and(|run| run.has_offer(at_ms))
    }
}

/// Any address of 198.18.0.0/15.
pub fn address(dice: &mut Dice) -> String {
    format!("198.{}.{}.{}", dice.between(18, 19), dice.between(0, 255), dice.between(1, 254))
}
