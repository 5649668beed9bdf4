//! The shop that the demo plays: its pages, its products and their prices.

use super::chance::Dice;

/// Where the shop's pages are. The name is reserved for examples, so nobody's real site gets the demo's traffic.
pub const ORIGIN: &str = "https://www.lumen-and-oak.example";
/// What the shop's prices are in.
pub const CURRENCY: &str = "EUR";

/// Something that can be bought.
#[derive(Debug)]
pub struct Product {
    /// Its id, and the last part of its page's path.
    pub sku: &'static str,
    /// Its name, and its page's title.
    pub name: &'static str,
    /// The category it is in, which is a part of its page's path.
    pub category: &'static str,
    /// Its price, in cents.
    pub price_cents: i64,
    /// How often it is looked at, compared with the others.
    pub popularity: u32,
}

const fn product(
    category: &'static str,
    sku: &'static str,
    name: &'static str,
    price_cents: i64,
    popularity: u32,
) -> Product {
    Product { sku, name, category, price_cents, popularity }
}

/// All products.
pub const PRODUCTS: [Product; 20] = [
    product("desk-lamps", "arc-desk-lamp", "Arc desk lamp", 12_900, 30),
    product("desk-lamps", "clamp-lamp", "Clamp lamp", 6_900, 18),
    product("desk-lamps", "reading-lamp-no-3", "Reading lamp No. 3", 8_450, 14),
    product("desk-lamps", "bankers-lamp", "Banker's lamp", 15_900, 7),
    product("pendants", "paper-globe", "Paper globe pendant", 4_900, 26),
    product("pendants", "oak-cone", "Oak cone pendant", 18_900, 16),
    product("pendants", "brass-trio", "Brass trio pendant", 34_900, 6),
    product("pendants", "glass-drop", "Glass drop pendant", 21_500, 9),
    product("floor-lamps", "tripod", "Tripod floor lamp", 24_900, 15),
    product("floor-lamps", "reed", "Reed floor lamp", 17_900, 10),
    product("floor-lamps", "uplighter", "Slim uplighter", 13_500, 8),
    product("bulbs", "warm-led-e27", "Warm LED bulb E27", 890, 34),
    product("bulbs", "filament-e14", "Filament bulb E14", 1_190, 20),
    product("bulbs", "smart-bulb", "Smart bulb, pair", 3_990, 22),
    product("furniture", "oak-side-table", "Oak side table", 19_900, 13),
    product("furniture", "bedside-shelf", "Bedside shelf", 8_900, 11),
    product("furniture", "stool", "Three-legged stool", 11_900, 9),
    product("accessories", "textile-cable", "Textile cable, 3 m", 1_950, 12),
    product("accessories", "dimmer", "Rotary dimmer", 3_450, 10),
    product("accessories", "gift-card", "Gift card", 5_000, 5),
];

const CATEGORIES: [(&str, &str); 6] = [
    ("desk-lamps", "Desk lamps"),
    ("pendants", "Pendants"),
    ("floor-lamps", "Floor lamps"),
    ("bulbs", "Bulbs"),
    ("furniture", "Furniture"),
    ("accessories", "Accessories"),
];

const ARTICLES: [(&str, &str); 5] = [
    ("how-bright-is-bright-enough", "How bright is bright enough?"),
    ("warm-or-cold-light", "Warm or cold light"),
    ("caring-for-oiled-oak", "Caring for oiled oak"),
    ("a-lamp-for-every-corner", "A lamp for every corner"),
    ("rewire-an-old-lamp", "Rewire an old lamp in an hour"),
];

/// What visitors type into the search field.
pub const SEARCHES: [&str; 8] =
    ["desk lamp", "oak", "e27 bulb", "pendant kitchen", "dimmable", "gift", "reading light", "grüne lampe"];

/// A page of the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its path, from `/`.
    pub path: String,
    /// Its title.
    pub title: &'static str,
}

/// The start page.
pub fn home() -> Page {
    Page { path: "/".to_owned(), title: "Lumen & Oak" }
}

/// The cart.
pub fn cart() -> Page {
    Page { path: "/cart".to_owned(), title: "Your cart" }
}

/// The checkout.
pub fn checkout() -> Page {
    Page { path: "/checkout".to_owned(), title: "Checkout" }
}

/// What is shown after an order.
pub fn thank_you() -> Page {
    Page { path: "/checkout/thank-you".to_owned(), title: "Thank you" }
}

/// A product's page.
pub fn product_page(product: &Product) -> Page {
    Page { path: format!("/{}/{}", product.category, product.sku), title: product.name }
}

/// Any category's page.
pub fn any_category(dice: &mut Dice) -> Page {
    let (slug, title) = dice.pick(&CATEGORIES);
    Page { path: format!("/{slug}"), title }
}

/// Any article of the shop's journal.
pub fn any_article(dice: &mut Dice) -> Page {
    let (slug, title) = dice.pick(&ARTICLES);
    Page { path: format!("/journal/{slug}"), title }
}

/// Any product, popular ones more often.
pub fn any_product(dice: &mut Dice) -> &'static Product {
    dice.weighted(&PRODUCTS, |product| product.popularity)
}
