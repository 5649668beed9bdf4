//! The names that stand in columns. uap-core tells some 400 families apart, and takes the names of apps from the user agent
//! itself; here the members of a family have one name, and what has none in these tables is `Other`. So nobody who sends
//! user agents adds values to `browser` and `os`.

/// The name of everything else.
const OTHER: &str = "Other";

/// Families of uap-core by the name that they get here.
const BROWSERS: [(&str, &[&str]); 82] = [
    ("Chrome", &["Chrome", "Chrome Mobile", "Chrome Mobile iOS", "HeadlessChrome", "Chromium", "Chrome Frame"]),
    ("Safari", &["Safari", "Mobile Safari", "WebKit Nightly"]),
    ("Firefox", &["Firefox", "Firefox Mobile", "Firefox iOS", "Firefox Alpha", "Firefox Beta"]),
    ("Edge", &["Edge", "Edge Mobile"]),
    ("Internet Explorer", &["IE", "IE Mobile", "IE Large Screen"]),
    ("Opera", &["Opera", "Opera Mobile", "Opera Touch", "Opera GX", "Opera Neon", "Opera Coast"]),
    ("Opera Mini", &["Opera Mini"]),
    ("Samsung Internet", &["Samsung Internet"]),
    ("Android Browser", &["Android"]),
    ("Android WebView", &["Chrome Mobile WebView"]),
    ("iOS WebView", &["Mobile Safari UI/WKWebView"]),
    ("Amazon Silk", &["Amazon Silk"]),
    ("Brave", &["Brave"]),
    ("Vivaldi", &["Vivaldi"]),
    ("DuckDuckGo", &["DuckDuckGo", "DuckDuckGo Mobile"]),
    ("Ecosia", &["Ecosia Android", "Ecosia iOS"]),
    ("Yandex Browser", &["Yandex Browser"]),
    ("UC Browser", &["UC Browser"]),
    ("QQ Browser", &["QQ Browser", "QQ Browser Mini", "QQ Browser Mobile"]),
    ("Baidu Browser", &["Baidu Browser", "Baidu Explorer"]),
    ("Sogou Explorer", &["Sogou Explorer"]),
    ("Quark", &["Quark", "Quark PC"]),
    ("MIUI Browser", &["MiuiBrowser"]),
    ("Mint Browser", &["Mint Browser"]),
    ("HeyTap Browser", &["HeyTap Browser"]),
    ("Huawei Browser", &["Huawei Browser"]),
    ("Honor Browser", &["Honor Browser"]),
    ("Phoenix Browser", &["Phoenix Browser"]),
    ("Whale", &["Whale"]),
    ("Coc Coc", &["Coc Coc"]),
    ("Sber Browser", &["Sber Browser"]),
    ("Aloha Browser", &["Aloha Browser"]),
    ("Avast Secure Browser", &["Avast Secure Browser"]),
    ("AVG Secure Browser", &["AVG"]),
    ("Maxthon", &["Maxthon"]),
    ("Pale Moon", &["Pale Moon"]),
    ("SeaMonkey", &["SeaMonkey"]),
    ("Konqueror", &["Konqueror"]),
    ("Puffin", &["Puffin"]),
    ("Oculus Browser", &["Oculus Browser"]),
    ("Tizen Browser", &["Tizen Browser"]),
    ("webOS Browser", &["webOS Browser"]),
    ("Nokia Browser", &["Nokia Browser", "Nokia OSS Browser", "Nokia Services (WAP) Browser", "Ovi Browser"]),
    ("BlackBerry", &["BlackBerry", "BlackBerry WebKit"]),
    ("Electron", &["Electron"]),
    ("Facebook", &["Facebook"]),
    ("Messenger", &["Facebook Messenger"]),
    ("Instagram", &["Instagram"]),
    ("TikTok", &["TikTok"]),
    ("Twitter", &["Twitter"]),
    ("Pinterest", &["Pinterest"]),
    ("Snapchat", &["Snapchat"]),
    ("LINE", &["LINE"]),
    ("KakaoTalk", &["KakaoTalk"]),
    ("Telegram", &["Telegram"]),
    ("WeChat", &["WeChat Browser"]),
    ("Weibo", &["Weibo"]),
    ("Google App", &["Google"]),
    ("Apple Mail", &["Apple Mail"]),
    ("Outlook", &["Outlook", "Windows Live Mail"]),
    ("Thunderbird", &["Thunderbird"]),
    ("Microsoft Teams", &["Microsoft Teams"]),
    ("Slack", &["Slack Desktop Client"]),
    ("Steam", &["Steam Client", "Steam Deck", "Steam GameOverlay"]),
    ("Googlebot", &["Googlebot"]),
    ("Bingbot", &["bingbot", "BingPreview"]),
    ("Yandexbot", &["YandexBot"]),
    ("Baiduspider", &["Baiduspider"]),
    ("Applebot", &["Applebot"]),
    ("Facebookbot", &["FacebookBot"]),
    ("Twitterbot", &["Twitterbot"]),
    ("Pinterestbot", &["Pinterestbot"]),
    ("AhrefsBot", &["AhrefsBot"]),
    ("SemrushBot", &["SemrushBot"]),
    ("GPTBot", &["GPTBot"]),
    ("ClaudeBot", &["ClaudeBot"]),
    ("DuckDuckBot", &["DuckDuckBot"]),
    ("curl", &["curl"]),
    ("Wget", &["Wget"]),
    ("Go", &["Go-http-client"]),
    ("Python", &["Python Requests", "Python aiohttp", "Python-urllib"]),
    ("okhttp", &["okhttp"]),
];

const SYSTEMS: [(&str, &[&str]); 22] = [
    ("Windows", &["Windows"]),
    ("macOS", &["Mac OS X", "Mac OS"]),
    ("iOS", &["iOS"]),
    ("Android", &["Android"]),
    (
        "Linux",
        &[
            "Linux",
            "Ubuntu",
            "Kubuntu",
            "Lubuntu",
            "Debian",
            "Fedora",
            "Red Hat",
            "CentOS",
            "Gentoo",
            "Arch Linux",
            "Slackware",
            "openSUSE",
            "SUSE",
            "PCLinuxOS",
            "Mageia",
            "Mandriva",
            "Linux Mint",
            "Puppy",
            "BackTrack",
        ],
    ),
    ("Chrome OS", &["Chrome OS"]),
    ("FreeBSD", &["FreeBSD"]),
    ("OpenBSD", &["OpenBSD"]),
    ("NetBSD", &["NetBSD"]),
    ("Windows Phone", &["Windows Phone", "Windows Mobile"]),
    ("HarmonyOS", &["HarmonyOS"]),
    ("KaiOS", &["KaiOS"]),
    ("tvOS", &["tvOS", "ATV OS X"]),
    ("watchOS", &["WatchOS"]),
    ("Tizen", &["Tizen"]),
    ("webOS", &["webOS", "Web0S"]),
    ("Fire OS", &["FireHbbTV"]),
    (
        "Chromecast",
        &["Chromecast Android", "Chromecast Fuchsia", "Chromecast Linux", "Chromecast SmartSpeaker", "GoogleTV"],
    ),
    ("Roku", &["Roku"]),
    ("BlackBerry", &["BlackBerry OS", "BlackBerry Tablet OS"]),
    ("Symbian", &["Symbian OS", "Symbian^3", "Symbian^3 Anna", "Symbian^3 Belle"]),
    ("Sailfish", &["Sailfish"]),
];

/// The name of a browser's family.
pub(super) fn browser(family: Option<&str>) -> &'static str {
    name_of(&BROWSERS, family)
}

/// The name of an operating system's family.
pub(super) fn system(family: Option<&str>) -> &'static str {
    name_of(&SYSTEMS, family)
}

/// Once for each user agent that is new: a table that is gone through is fast enough.
fn name_of(names: &'static [(&str, &[&str])], family: Option<&str>) -> &'static str {
    let found = family.and_then(|family| names.iter().find(|(_, members)| members.contains(&family)));
    found.map_or(OTHER, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::super::PATTERNS;
    use super::*;

    /// Names that uap-core reads from the user agent by a pattern for many; `devices.csv` has cases of them.
    const NOT_LITERAL: [&str; 7] =
        ["YandexBot", "Baiduspider", "Applebot", "AhrefsBot", "ClaudeBot", "DuckDuckBot", "NetBSD"];

    /// A family that uap-core renames or drops would silently become `Other`.
    #[test]
    fn every_family_stands_in_the_patterns() {
        let families = BROWSERS.iter().chain(&SYSTEMS).flat_map(|(_, members)| members.iter());
        for family in families.filter(|family| !NOT_LITERAL.contains(family)) {
            assert!(PATTERNS.contains(*family), "{family}");
        }
    }

    #[test]
    fn families_and_names_are_unique() {
        for names in [&BROWSERS[..], &SYSTEMS[..]] {
            let mut all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
            let mut members: Vec<&str> = names.iter().flat_map(|(_, members)| members.iter().copied()).collect();
            let count = members.len();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), count);
        }
    }
}
