//! All that a push carries, as texts: objects, the names in them, refs, push options.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader};
use std::rc::Rc;

use git2::{ObjectFormat, ObjectType, Odb, Oid};

use super::cat_file::Ahead;
use super::history::{History, Walker};
use super::path_classes::Classes;
use super::recent::{Bytes, Held, Recent, WORTH_COMPARING};
use super::unread::AllUnread;
use super::views::{Each, give, give_stream, view};
use super::{changed_regions, parse};
use crate::deadline::Deadline;
use crate::git::{self, GitOutput};
use crate::push::ReceivedObject;
use crate::scan::decode::{Budget, Content};
use crate::scan::gitleaks::PathRules;
use crate::scan::source::Source;
use crate::scan::{Request, ScanError};
use crate::settings::Limits;

/// Objects up to this size are held in memory. Larger blobs are streamed, any other kind is refused: a
/// directory of this size has some 300,000 entries.
const MAX_IN_MEMORY: u64 = 16 << 20;

/// From how many letters on the id of a submodule's commit is scanned as a text: what is shorter is no
/// secret, and of ten thousand hashes one has as many.
const SPELLED: usize = 16;

/// From how many blobs on another process reads them: its start has to pay off.
const WORTH_A_PROCESS: usize = 1000;

/// It reads them when they have fewer bytes than this on average. What it brings for each blob is
/// lost again with large ones, which have to be copied through a pipe.
const WORTH_A_COPY: u64 = 64 << 10;

/// The texts of one push.
pub struct ObjectReader<'a> {
    pub(crate) request: &'a Request<'a>,
    odb: &'a Odb<'a>,
    format: ObjectFormat,
    /// The rules that hold for some paths only.
    pub(crate) rules: &'a PathRules,
    deadline: Deadline,
    /// The objects to scan: those received, then those that the store holds and no ref reaches.
    pub objects: Vec<ReceivedObject>,
    /// How many of `objects` were received.
    pub received: usize,
    /// Which commit brought what.
    pub history: History,
    pub(crate) budget: Budget,
    /// What of it cannot be read whole.
    pub(crate) unread: AllUnread,
    ahead: Option<Ahead>,
    recent: Recent<'a>,
}

impl<'a> ObjectReader<'a> {
    /// Reads the history of the push and lists what is to be scanned.
    pub fn list(
        request: &'a Request<'a>,
        odb: &'a Odb<'a>,
        rules: &'a PathRules,
        deadline: Deadline,
    ) -> Result<Self, ScanError> {
        let format = request.repository.object_format();
        let objects = request.received.objects.clone();
        let index: HashMap<_, _> = objects.iter().map(|object| object.id).zip(0..).collect();
        check_sizes(&objects, &request.settings.limits)?;
        let walker = Walker::new(odb, format, &index, rules, deadline);
        let history = walker.read(request.refs, &objects, request.updates)?;
        let mut texts = Self {
            request,
            odb,
            format,
            rules,
            deadline,
            received: objects.len(),
            objects,
            history,
            budget: Budget::new(
                &request.settings.limits,
                deadline,
                request.repository.path(),
            ),
            unread: AllUnread::default(),
            ahead: None,
            recent: Recent::default(),
        };
        if texts.history.reaches_outside {
            texts.add_outside(&index)?;
        }
        Ok(texts)
    }

    /// Adds what the store holds and no ref reaches, though the push refers to it: the forward may
    /// carry it, and a received version may be compared with it. To build on it proves nothing; the
    /// boundary is where a ref's history begins below it (git-rev-list(1), `--boundary`).
    fn add_outside(&mut self, received: &HashMap<Oid, usize>) -> Result<(), ScanError> {
        let updates = self.request.updates.iter();
        let news = updates.filter(|update| !update.deletes());
        let commits = self.history.commits.iter().map(|(id, _)| *id);
        let starts = news.map(|update| update.new).chain(commits);
        let options = ["--objects", "--no-object-names", "--boundary"];
        let output = git::unreached(self.request.repository, starts, &options, self.deadline)?;
        let mut outside = HashSet::new();
        let mut boundary: HashSet<_> = self.history.boundary.iter().copied().collect();
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some(id) = line.strip_prefix('-') {
                boundary.insert(Oid::from_str_ext(id, self.format)?);
                continue;
            }
            let id = Oid::from_str_ext(&line, self.format)?;
            if !received.contains_key(&id) && outside.insert(id) {
                let (size, kind) = self.odb.read_header(id)?;
                let size = size as u64;
                self.objects.push(ReceivedObject { id, kind, size });
            }
        }
        check_sizes(&self.objects, &self.request.settings.limits)?;
        self.history.boundary = boundary.difference(&outside).copied().collect();
        self.history.boundary.sort_unstable();
        Ok(())
    }

    /// The order of the scan: the small ones first, then first versions in the order of the pack
    /// (so that each delta's base is unpacked once), then a file's later versions after each other,
    /// then blobs that no commit holds.
    pub fn order(&self) -> Vec<Source> {
        let index: HashMap<_, _> = self
            .objects
            .iter()
            .map(|object| object.id)
            .zip(0..)
            .collect();
        let is_blob = |&at: &usize| self.objects[at].kind == ObjectType::Blob;
        let is_loose = |at: &usize| !self.history.origins.contains_key(&self.objects[*at].id);
        let all = || 0..self.objects.len();
        let refs = (0..self.request.updates.len()).map(Source::RefName);
        let options = (0..self.request.push_options.len()).map(Source::PushOption);
        let history = &self.history;
        let others = all().filter(|at| !is_blob(at)).map(Source::Object);
        let has_paths = |at: &usize| history.other_paths.contains_key(&self.objects[*at].id);
        let other_paths = all().filter(has_paths).map(Source::Path);
        let is_first = |id: &&Oid| {
            let origin = history.origins.get(*id);
            origin.is_none_or(|origin| origin.before.is_none())
        };
        let (first, later): (Vec<_>, Vec<_>) = history.blobs.iter().partition(is_first);
        let position = |id: &Oid| index.get(id).copied();
        let mut first: Vec<usize> = first.into_iter().filter_map(position).collect();
        first.sort_unstable();
        let blobs = first
            .into_iter()
            .chain(later.into_iter().filter_map(position));
        let blobs = blobs.flat_map(|at| [Source::Path(at), Source::Object(at)]);
        let loose = all().filter(is_blob).filter(is_loose).map(Source::Object);
        refs.chain(options)
            .chain(others)
            .chain(other_paths)
            .chain(blobs)
            .chain(loose)
            .collect()
    }

    /// Prepares for every blob among `sources` to be read next, and in this order.
    pub fn read_ahead(&mut self, sources: &[Source]) -> Result<(), ScanError> {
        let objects = &self.objects;
        let blobs = sources.iter().filter_map(|source| match source {
            Source::Object(at) => Some(objects[*at]),
            _ => None,
        });
        let is_one =
            |blob: &ReceivedObject| blob.kind == ObjectType::Blob && blob.size <= MAX_IN_MEMORY;
        let blobs = blobs.filter(is_one);
        let count = blobs.clone().count();
        let size: u64 = blobs.clone().map(|blob| blob.size).sum();
        if count >= WORTH_A_PROCESS && size < WORTH_A_COPY * count as u64 {
            let git_dir = self.request.repository.path();
            self.ahead = Some(Ahead::start(git_dir, blobs, self.deadline)?);
        }
        Ok(())
    }

    /// Gives every text of `source` to `each`, with its member and the line it begins on.
    pub fn read(&mut self, source: Source, each: &mut Each<'_>) -> Result<(), ScanError> {
        let request = self.request;
        match source {
            Source::RefName(at) => self.views(request.updates[at].name.as_bytes(), each),
            Source::PushOption(at) => self.views(&request.push_options[at], each),
            Source::Path(at) => {
                let id = self.objects[at].id;
                let paths = self.history.paths(id).join(&b"\n\n"[..]);
                let read = self.views(&paths, each);
                read.map_err(|error| error.in_object(id))
            }
            Source::Object(at) => {
                let object = self.objects[at];
                let read = match object.kind {
                    ObjectType::Tree => self.names(object.id, each),
                    ObjectType::Blob => self.blob(object, each),
                    _ => self.message(object.id, each),
                };
                read.map_err(|error| error.in_object(object.id))
            }
        }
    }

    /// The objects of the mirror and of the push.
    pub(crate) fn odb(&self) -> &'a Odb<'a> {
        self.odb
    }

    /// A blob that the store holds, whole.
    pub fn read_held(
        &mut self,
        id: Oid,
        budget: &mut Budget,
        each: &mut Each<'_>,
    ) -> Result<(), ScanError> {
        match self.held(id)? {
            Some(held) => give(Content::Bytes(&held.bytes), budget, each),
            None => {
                let (size, _) = self.odb.read_header(id)?;
                give_stream(&mut self.stream(id)?, size as u64, budget, each)
            }
        }
    }

    /// An object that is not too large to be held.
    pub fn held(&mut self, id: Oid) -> Result<Option<Rc<Held<'a>>>, ScanError> {
        if let Some(kept) = self.recent.get(id) {
            return Ok(Some(kept));
        }
        let (size, _) = self.odb.read_header(id)?;
        if size as u64 > MAX_IN_MEMORY {
            return Ok(None);
        }
        let bytes = Bytes::InStore(self.odb.read(id)?);
        Ok(Some(self.recent.put(id, bytes)))
    }

    /// The bytes of a blob of any size.
    pub fn stream(&self, id: Oid) -> io::Result<GitOutput> {
        let mut command = git::command(self.request.repository.path());
        command.args(["cat-file", "blob"]).arg(id.to_string());
        GitOutput::start(&mut command, self.deadline)
    }

    /// A commit or tag: as it is, and without the fold of its headers.
    fn message(&mut self, id: Oid, each: &mut Each<'_>) -> Result<(), ScanError> {
        let raw = self.odb.read(id)?;
        self.views(raw.data(), each)?;
        match parse::unfolded(raw.data()) {
            Some(plain) => self.views(&plain, each),
            None => Ok(()),
        }
    }

    /// The names in a tree, and what ids spell that no object need have; their line is their place in it.
    fn names(&mut self, id: Oid, each: &mut Each<'_>) -> Result<(), ScanError> {
        let raw = self.odb.read(id)?;
        for (entry, number) in parse::entries(raw.data(), self.format).zip(1..) {
            let entry = entry?;
            let spelled = entry.is_gitlink().then(|| spelled(entry.id)).flatten();
            for text in [Some(entry.name), spelled.as_deref()].into_iter().flatten() {
                self.views(text, &mut |member, _, text| each(member, number, text))?;
            }
        }
        Ok(())
    }

    fn blob(&mut self, object: ReceivedObject, each: &mut Each<'_>) -> Result<(), ScanError> {
        if object.size > MAX_IN_MEMORY {
            let mut stream = self.stream(object.id)?;
            return give_stream(&mut stream, object.size, &mut self.budget, each);
        }
        let bytes = match &mut self.ahead {
            Some(ahead) if !ahead.is_done() => Bytes::Copied(ahead.next(&object)?),
            _ => Bytes::InStore(self.odb.read(object.id)?),
        };
        let new = self.recent.put(object.id, bytes);
        let before = self.comparable(object)?;
        match before.filter(|before| before.is_plain() && new.is_plain()) {
            None => self.views(&new.bytes, each),
            Some(before) => self.changes(&before.bytes, &new.bytes, each),
        }
    }

    /// What is new in a later version of a file.
    fn changes(&mut self, old: &[u8], new: &[u8], each: &mut Each<'_>) -> Result<(), ScanError> {
        for region in changed_regions::changed(old, new) {
            let above = region.first_line - 1;
            self.views(&new[region.bytes], &mut |member, line, text| {
                let shift = if member.path.is_empty() { above } else { 0 };
                each(member, line + shift, text)
            })?;
        }
        Ok(())
    }

    /// The version before `object`, where scanning the difference to it is enough: it has been
    /// scanned under the same rules, and `object` is not the newest.
    fn comparable(&mut self, object: ReceivedObject) -> Result<Option<Rc<Held<'a>>>, ScanError> {
        let Some(origin) = self.history.origins.get(&object.id) else {
            return Ok(None);
        };
        let Some(before) = origin.before else {
            return Ok(None);
        };
        let is_newest = self.history.newest.contains(&object.id);
        if is_newest || object.size < WORTH_COMPARING as u64 {
            return Ok(None);
        }
        let stood = self.history.origins.get(&before);
        // What the upstream holds stood where `object` was seen first.
        let stood = stood.map_or(&origin.paths[..1], |origin| &origin.paths);
        match self.decide_no_more(&origin.paths, stood) {
            true => self.held(before),
            false => Ok(None),
        }
    }

    /// Whether all that `paths` decide is what some of `others` decide too.
    fn decide_no_more(&self, paths: &[Box<[u8]>], others: &[Box<[u8]>]) -> bool {
        let classes = Classes::new(self.rules);
        let of = |paths: &[Box<[u8]>]| -> Vec<u64> {
            let each = paths.iter().map(|path| classes.file(path));
            each.collect()
        };
        paths == others || {
            let others = of(others);
            of(paths).iter().all(|class| others.contains(class))
        }
    }

    fn views(&mut self, bytes: &[u8], each: &mut Each<'_>) -> Result<(), ScanError> {
        view(bytes, &mut self.budget, each)
    }
}

/// The bytes of `id` as a text, where so many of them are letters as a hash hardly ever has.
fn spelled(id: Oid) -> Option<Vec<u8>> {
    let bytes = id.as_bytes().iter();
    let text: Vec<u8> = bytes
        .map(|&byte| if byte.is_ascii_graphic() { byte } else { b'\n' })
        .collect();
    let letters = text.iter().filter(|&&byte| byte != b'\n').count();
    (letters >= SPELLED).then_some(text)
}

/// Refuses objects that would have to be held in memory and are too large for that, and those that
/// unpack to more than the operator allows: zeros pack a thousandfold. Their headers tell the sizes.
fn check_sizes(objects: &[ReceivedObject], limits: &Limits) -> Result<(), ScanError> {
    let mut all = 0_u64;
    for &ReceivedObject { id, kind, size } in objects {
        if kind != ObjectType::Blob && size > MAX_IN_MEMORY {
            let limit = MAX_IN_MEMORY;
            return Err(ScanError::TooLarge { kind, size, limit }.in_object(id));
        }
        if size > limits.max_object_size {
            let limit = limits.max_object_size;
            return Err(ScanError::Unpacks { id, size, limit });
        }
        all = all.saturating_add(size);
    }
    match all <= limits.max_unpacked_size {
        true => Ok(()),
        false => Err(ScanError::UnpackTogether {
            size: all,
            limit: limits.max_unpacked_size,
        }),
    }
}
