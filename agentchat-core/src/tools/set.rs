//! Several tools.

use std::collections::HashMap;

use super::answer::ToolAnswer;
use super::context::ToolContext;
use super::spec::ToolSpec;
use crate::error::{Error, ErrorKind, Result};

/// Tools, each under its own name, in the order they were given in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ToolSet {
    tools: Vec<ToolSpec>,
    places: HashMap<String, usize>,
}

impl ToolSet {
    /// These tools.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that two of them have.
    pub fn new(tools: impl IntoIterator<Item = ToolSpec>) -> Result<Self> {
        let mut set = Self::default();
        for tool in tools {
            if set.places.insert(tool.name().to_owned(), set.tools.len()).is_some() {
                return Err(config(format!("two tools are called {}", tool.name())));
            }
            set.tools.push(tool);
        }
        Ok(set)
    }

    /// These tools and, behind them, those of `other`.
    ///
    /// # Errors
    /// As [`ToolSet::new`].
    pub fn with(self, other: Self) -> Result<Self> {
        Self::new(self.tools.into_iter().chain(other.tools))
    }

    /// Those of the tools that `names` lists, in the order of this set. A name may be listed twice.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], with the name, for one that no tool here has: a misspelt name in a configuration
    /// is not a tool less.
    pub fn subset<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Self> {
        let mut wanted = vec![false; self.tools.len()];
        for name in names {
            let name = name.as_ref();
            match self.places.get(name) {
                Some(place) => wanted[*place] = true,
                None => return Err(config(format!("there is no tool called {}", shown(name)))),
            }
        }
        Self::new(self.tools.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(tool, _)| tool.clone()))
    }

    /// The tool called `name`.
    pub fn find(&self, name: &str) -> Option<&ToolSpec> {
        self.places.get(name).map(|place| &self.tools[*place])
    }

    /// The tools, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, ToolSpec> {
        self.tools.iter()
    }

    /// Their names, in that order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(ToolSpec::name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Calls the tool called `name`, as [`ToolSpec::call`] does. Where there is none the answer says so, with
    /// the code `UNKNOWN_TOOL`.
    pub async fn call(&self, name: &str, arguments: &str, context: ToolContext) -> ToolAnswer {
        match self.find(name) {
            Some(tool) => tool.call(arguments, context).await,
            None => {
                let what = format!("there is no tool called {}", shown(name));
                let error = Error::new(ErrorKind::NotFound, "tool", what).with_code("UNKNOWN_TOOL");
                ToolAnswer::failed(error.with_reached(crate::error::Reached::No), None)
            }
        }
    }
}

impl<'a> IntoIterator for &'a ToolSet {
    type Item = &'a ToolSpec;
    type IntoIter = std::slice::Iter<'a, ToolSpec>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn config(what: String) -> Error {
    Error::new(ErrorKind::Config, "tools", what)
}

/// A name as it is repeated to whoever used it: as much of it as a name can have.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(64).collect::<String>())
}
