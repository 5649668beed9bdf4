//! Where visitors come from: campaigns with their tags and click ids, referrers, or nowhere.

use super::chance::Dice;

/// The first page that a source leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// The start page.
    Home,
    /// A category.
    Category,
    /// A product.
    Product,
    /// An article of the journal.
    Article,
}

/// Campaign tags of a source.
#[derive(Debug)]
pub struct Campaign {
    source: &'static str,
    medium: &'static str,
    names: &'static [&'static str],
    /// Parameter and beginning of the advertiser's click id.
    click_id: Option<(&'static str, &'static str)>,
}

/// One way to the shop.
#[derive(Debug)]
pub struct Source {
    /// The channel that the rule set `touchline` must put it into.
    pub channel: &'static str,
    /// The page that linked to the shop.
    pub referrer: Option<&'static str>,
    /// The tags on the link.
    pub campaign: Option<Campaign>,
    /// Where the link leads to.
    pub landings: &'static [Landing],
    /// How likely somebody leaves after one page, 0 to 1.
    pub bounce_rate: f64,
    first_visit_weight: u32,
    return_weight: u32,
}

const fn untagged(
    channel: &'static str,
    referrer: &'static str,
    landings: &'static [Landing],
    weights: (u32, u32),
) -> Source {
    Source {
        channel,
        referrer: Some(referrer),
        campaign: None,
        landings,
        bounce_rate: 0.42,
        first_visit_weight: weights.0,
        return_weight: weights.1,
    }
}

const fn tagged(
    channel: &'static str,
    referrer: Option<&'static str>,
    campaign: Campaign,
    bounce_rate: f64,
    weights: (u32, u32),
) -> Source {
    Source {
        channel,
        referrer,
        campaign: Some(campaign),
        landings: &[Landing::Product, Landing::Category],
        bounce_rate,
        first_visit_weight: weights.0,
        return_weight: weights.1,
    }
}

const GOOGLE: &str = "https://www.google.com/";
const SEARCH_LANDINGS: &[Landing] = &[Landing::Product, Landing::Product, Landing::Article, Landing::Home];
const ARTICLE_LANDINGS: &[Landing] = &[Landing::Article, Landing::Product];

/// All ways to the shop.
pub const SOURCES: [Source; 16] = [
    Source {
        channel: "direct",
        referrer: None,
        campaign: None,
        landings: &[Landing::Home, Landing::Home, Landing::Category],
        bounce_rate: 0.3,
        first_visit_weight: 14,
        return_weight: 48,
    },
    untagged("organic_search", GOOGLE, SEARCH_LANDINGS, (24, 12)),
    untagged("organic_search", "https://www.bing.com/", SEARCH_LANDINGS, (4, 2)),
    untagged("organic_search", "https://duckduckgo.com/", SEARCH_LANDINGS, (3, 2)),
    untagged("ai", "https://chatgpt.com/", ARTICLE_LANDINGS, (3, 1)),
    untagged("ai", "https://www.perplexity.ai/", ARTICLE_LANDINGS, (1, 1)),
    untagged("organic_social", "https://www.reddit.com/", ARTICLE_LANDINGS, (3, 1)),
    untagged("organic_social", "https://l.instagram.com/", &[Landing::Product], (3, 1)),
    untagged("referral", "https://www.lightweaver-journal.example/2026/best-desk-lamps", &[Landing::Product], (4, 1)),
    untagged("referral", "https://small-rooms.example/lamps/", ARTICLE_LANDINGS, (2, 1)),
    tagged(
        "paid_search",
        Some(GOOGLE),
        Campaign {
            source: "google",
            medium: "cpc",
            names: &["spring_sale", "brand", "shopping_lamps"],
            click_id: Some(("gclid", "Cj0KCQjw")),
        },
        0.4,
        (16, 6),
    ),
    tagged(
        "email",
        None,
        Campaign { source: "newsletter", medium: "email", names: &["weekly", "spring_sale"], click_id: None },
        0.2,
        (2, 16),
    ),
    tagged(
        "paid_social",
        Some("https://l.facebook.com/"),
        Campaign {
            source: "facebook",
            medium: "paid_social",
            names: &["spring_sale", "lookalike_de"],
            click_id: Some(("fbclid", "IwAR")),
        },
        0.55,
        (10, 3),
    ),
    tagged(
        "paid_social",
        Some("https://www.tiktok.com/"),
        Campaign {
            source: "tiktok",
            medium: "paid_social",
            names: &["room_makeover"],
            click_id: Some(("ttclid", "E.C.P.")),
        },
        0.62,
        (7, 2),
    ),
    tagged(
        "affiliate",
        Some("https://www.homeandlight.example/deals"),
        Campaign { source: "homeandlight", medium: "affiliate", names: &["deals"], click_id: None },
        0.35,
        (3, 2),
    ),
    tagged(
        "display",
        None,
        Campaign { source: "adnetwork", medium: "display", names: &["spring_sale"], click_id: None },
        0.7,
        (3, 1),
    ),
];

impl Source {
    /// The source of somebody's first visit.
    pub fn of_first_visit(dice: &mut Dice) -> &'static Source {
        dice.weighted(&SOURCES, |source| source.first_visit_weight)
    }

    /// The source of a later visit.
    pub fn of_return(dice: &mut Dice) -> &'static Source {
        dice.weighted(&SOURCES, |source| source.return_weight)
    }

    /// The query of the link, with its question mark, or nothing.
    pub fn query(&self, dice: &mut Dice) -> String {
        let Some(campaign) = &self.campaign else { return String::new() };
        let name = dice.pick(campaign.names);
        let mut query = format!("?utm_source={}&utm_medium={}&utm_campaign={name}", campaign.source, campaign.medium);
        if dice.chance(0.3) {
            query.push_str(dice.pick::<&str>(&["&utm_content=hero", "&utm_content=carousel%20b"]));
        }
        if let Some((parameter, beginning)) = campaign.click_id {
            query.push_str(&format!("&{parameter}={beginning}{}", dice.hex(24)));
        }
        query
    }
}
