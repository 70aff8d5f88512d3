//! A Namespace that every process can use.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use mp_manager_proto::v1::{Attribute, Kind, NamespaceOp, PageRequest, namespace_op::Op, request};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::Result,
    objects::{
        manager::Manager,
        open::{Name, Open},
        pages::Pages,
        proxy, sealed,
    },
    rpc::{codec::Detail, fence::fenced, object::Object},
};

impl Manager {
    /// A [`Namespace`].
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let settings = manager.namespace("settings").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Namespace")]
    pub fn namespace(&self, name: impl Into<Name>) -> Open<Namespace> {
        Open::new(self, name.into(), None)
    }
}

/// Attributes by name, for processes wherever they run. Python's `manager.Namespace()`.
///
/// Each attribute has a type of its own; values can be proxies of other shared objects. Each
/// operation is atomic.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let settings = manager.namespace("settings").await?;
/// settings.set("title", "Spring").await?;
/// settings.set("depth", &3).await?;
/// assert_eq!(settings.get::<u8>("depth").await?, Some(3));
/// # Ok(())
/// # }
/// ```
pub struct Namespace {
    object: Object,
}

proxy!(Namespace);
fenced!(Namespace);

impl sealed::Proxy for Namespace {
    const KIND: Kind = Kind::Namespace;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl Namespace {
    /// The value of an attribute; `None` if there is no such attribute.
    ///
    /// # Errors
    /// If the value is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let settings = manager.namespace("settings").await?;
    /// settings.set("depth", &3).await?;
    /// let depth: Option<u8> = settings.get("depth").await?;
    /// assert_eq!(depth, Some(3));
    /// assert_eq!(settings.get::<u8>("width").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getattr__")]
    pub async fn get<T: DeserializeOwned>(&self, attribute: &str) -> Result<Option<T>> {
        self.object.ask("get", op(Op::Get(attribute.into()))).await?.value_or_absent()
    }

    /// Sets an attribute. One that is there keeps its place in the order, not its type.
    ///
    /// # Errors
    /// If the name is empty or too long, or the value cannot be encoded or is too long, or the
    /// session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let settings = manager.namespace("settings").await?;
    /// settings.set("title", "Spring").await?;
    /// settings.set("sizes", &[1, 2, 3]).await?;
    /// assert_eq!(settings.get("sizes").await?, Some(vec![1, 2, 3]));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setattr__")]
    pub async fn set(&self, attribute: &str, value: impl Serialize) -> Result<()> {
        let value = Some(self.object.encode("set", &value)?);
        let attribute = Attribute { name: attribute.into(), value };
        self.object.ask("set", op(Op::Set(attribute))).await?.done()
    }

    /// Removes an attribute; returns whether it was there. Final once applied.
    ///
    /// # Errors
    /// If the session is lost or the Namespace deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let settings = manager.namespace("settings").await?;
    /// settings.set("depth", &3).await?;
    /// assert!(settings.delete("depth").await?);
    /// assert!(!settings.delete("depth").await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delattr__")]
    pub async fn delete(&self, attribute: &str) -> Result<bool> {
        self.object.ask("delete", op(Op::Delete(attribute.into()))).await?.flag()
    }

    /// The names of all attributes, in the order they were first set.
    ///
    /// Fetched in pages: if they have more than about 1 MiB, they may change between them, see
    /// [`Pages`].
    ///
    /// # Errors
    /// If the session is lost or the Namespace deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let settings = manager.namespace("settings").await?;
    /// settings.set("title", "Spring").await?;
    /// settings.set("depth", &3).await?;
    /// assert_eq!(settings.attributes().await?, ["title", "depth"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__dir__")]
    pub async fn attributes(&self) -> Result<Vec<String>> {
        let object = self.object.clone();
        let names = Pages::new(move |cursor| {
            let object = object.clone();
            async move {
                let names = Op::Names(PageRequest { cursor, ..PageRequest::default() });
                let reply = object.ask("attributes", op(names)).await?;
                let page = reply.page()?;
                let names = page
                    .keys
                    .iter()
                    .map(|name| String::from_utf8(name.to_vec()).map_err(|_| reply.unexpected()));
                Ok((names.collect::<Result<_>>()?, page.next))
            }
        });
        names.collect().await
    }

    /// All attributes at once, as a struct with fields of these names or as any map of names to
    /// values of one type.
    ///
    /// Fetched in pages: if they have more than about 1 MiB, they may change between them, see
    /// [`Pages`].
    ///
    /// # Errors
    /// If the attributes are not an `S`: a field is missing or of another type; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let settings = manager.namespace("settings").await?;
    /// use std::collections::HashMap;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Settings {
    ///     title: String,
    ///     depth: u8,
    /// }
    ///
    /// settings.set("title", "Spring").await?;
    /// settings.set("depth", &3).await?;
    /// let Settings { title, depth } = settings.snapshot().await?;
    /// assert_eq!((title.as_str(), depth), ("Spring", 3));
    ///
    /// settings.delete("title").await?;
    /// let numbers: HashMap<String, u8> = settings.snapshot().await?;
    /// assert_eq!(numbers["depth"], 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__dict__")]
    #[doc(alias = "vars")]
    pub async fn snapshot<S: DeserializeOwned>(&self) -> Result<S> {
        // By name, since one that goes and comes back between two pages is in both.
        let mut attributes = BTreeMap::new();
        // A reply keeps the objects alive that its values refer to.
        let mut earlier = Vec::new();
        let mut cursor = None;
        loop {
            let page = PageRequest { cursor, ..PageRequest::default() };
            let reply = self.object.ask("snapshot", op(Op::Snapshot(page))).await?;
            let page = reply.page()?;
            let values = page.values.iter().map(|value| value.data.clone());
            attributes.extend(page.keys.iter().cloned().zip(values));
            cursor = page.next;
            if cursor.is_none() {
                return reply.decode(&encoded_map(&attributes));
            }
            earlier.push(reply);
        }
    }
}

/// The MessagePack map of names to values that are encoded already.
fn encoded_map(attributes: &BTreeMap<Bytes, Bytes>) -> Bytes {
    const MAP_32: u8 = 0xdf;
    const STR_32: u8 = 0xdb;
    let mut map = BytesMut::new();
    put_header(&mut map, MAP_32, attributes.len());
    for (name, value) in attributes {
        put_header(&mut map, STR_32, name.len());
        map.extend_from_slice(name);
        map.extend_from_slice(value);
    }
    map.freeze()
}

fn put_header(out: &mut BytesMut, marker: u8, len: usize) {
    out.put_u8(marker);
    // So many never fit a memory; if they did, the map would end too early and not be decoded.
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

fn op(op: Op) -> request::Op {
    request::Op::Namespace(NamespaceOp { op: Some(op) })
}
