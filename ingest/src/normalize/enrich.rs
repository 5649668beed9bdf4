//! What is looked up of an event besides what was sent: browser, operating system, device, bot or not, country.

use std::borrow::Cow;
use std::net::IpAddr;

use touchline_enrich::Enricher;
use touchline_schemas::event::TextField;

use crate::record::Event;

/// Sets what is known by the user agent, and by the client's address as it is before it is masked.
pub fn set_looked_up(event: &mut Event<'_>, enricher: &Enricher, user_agent: Option<&str>, address: Option<IpAddr>) {
    if let Some(user_agent) = user_agent {
        let device = enricher.device(user_agent);
        event.is_bot = device.is_bot;
        event.set(TextField::Browser, device.browser);
        event.set(TextField::Os, device.os);
        event.set(TextField::DeviceType, device.device_type.as_str());
    }
    if let Some(country) = address.and_then(|address| enricher.country(address)) {
        event.set(TextField::Country, Cow::Owned(country.as_str().to_owned()));
    }
}
