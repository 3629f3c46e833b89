pub const CHILD: &str = "--";
pub fn child() {}
pub fn rss() {}
