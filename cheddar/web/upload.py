"""Uploads: the legacy upload API, streamed from the socket to the storage's own file system."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cheddar import metrics
from cheddar.deferreds import returns_deferred
from cheddar.errors import AlreadyExists, BadCredentials, CheddarError, Forbidden, Gone, Invalid, Reserved, TooLarge
from cheddar.formats import filenames
from cheddar.formats.upload_form import FormLimits, ParsedForm, UploadFormParser
from cheddar.interfaces import IFileStorage, IFileWriter, IPublishable, IUpload
from cheddar.model import NO_DIGESTS, Action, Event, Identity, normalize_version
from cheddar.names import is_project_name, normalize
from cheddar.web.access import Access, InternalError, Routes, to_its_end
from cheddar.web.audited import Audited
from cheddar.web.request import CheddarRequest
from cheddar.web.responses import Response, request_header

_PUBLISHING = frozenset({"file_upload"})
_CHECKING = frozenset({"submit", "submit_pkg_info", "verify"})
_WITHDRAWN = frozenset({"doc_upload", "user", "password_reset"})


@implementer(IUpload)
@frozen
class Upload:
    """An upload that has arrived whole."""

    filename: str
    fields: Mapping[str, tuple[str, ...]]
    writer: IFileWriter
    digests: Mapping[str, str] = NO_DIGESTS


@define(eq=False)
class IncomingUpload:
    """
    The body of an upload, on its way in.

    Reading is paused until the sender is known to be allowed to upload, and while the disk is slower than the
    network. Whatever goes wrong is answered at once; what still comes is dropped.
    """

    _request: CheddarRequest
    _access: Access
    _local: IPublishable
    _storage: IFileStorage
    _audited: Audited
    _limits: FormLimits
    _length: int | None
    _expect: bool = field(default=False, init=False)
    _parser: UploadFormParser | None = field(default=None, init=False)
    _writer: IFileWriter | None = field(default=None, init=False)
    _early: list[bytes] = field(factory=list, init=False)
    _complete: bool = field(default=False, init=False)
    _pauses: int = field(default=0, init=False)
    _admission: Deferred[None] | None = field(default=None, init=False)
    _outcome: ParsedForm | CheddarError | Failure | None = field(default=None, init=False)
    _waiter: Deferred[None] | None = field(default=None, init=False)
    _aborted: bool = field(default=False, init=False)
    _project: str = field(default="", init=False)

    _log = Logger()

    def start(self, expect: bool) -> None:
        """
        The headers are here: decide.

        @param expect: whether the sender waits for a C{100 Continue} before it sends the body.
        """
        self._expect = expect
        self._pause()
        Deferred.fromCoroutine(self._admit()).addErrback(self._failed).addBoth(lambda _: self._resume())

    async def _admit(self) -> None:
        if self._length is not None and self._length > self._limits.body:
            raise TooLarge(f"An upload of {self._length} bytes is too large; the most is {self._limits.file}.")
        await self._access.check(self._request, Action.UPLOAD, "local", None)
        if self._aborted:
            return
        content_type = request_header(self._request, "content-type") or ""
        parser = UploadFormParser(content_type, self._take, self._limits)
        writer = await self._storage.create(("sha256",))
        if self._aborted:
            await writer.abort()
            return
        self._writer = writer
        self._parser = parser
        if self._expect and not self._complete:
            self._request.channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        early, self._early = self._early, []
        for data in early:
            self._feed(data)
        if self._complete:
            self._finish()
        if self._admission is not None and not self._admission.called:
            self._admission.callback(None)

    def data_received(self, data: bytes) -> None:
        """The next bytes of the body."""
        if self._outcome is not None or self._aborted:
            return
        if self._pauses and not self._complete:
            # The channel resumes reading on its own account, when the client has taken what it was sent before.
            self._request.pause_reading()
        if self._parser is None:
            self._early.append(data)
        else:
            self._feed(data)

    def body_received(self) -> None:
        """The body is complete."""
        self._complete = True
        if self._parser is not None:
            self._finish()

    def _feed(self, data: bytes) -> None:
        if self._outcome is None and self._parser is not None:
            try:
                self._parser.feed(data)
            except Exception:  # noqa: BLE001  # the sender is told, and the log if it is no CheddarError
                self._failed(Failure())
            if not self._project and self._outcome is None:
                self._check_name(self._parser.fields.get("name", ()))

    def _check_name(self, names: tuple[str, ...]) -> None:
        """
        The form may have named the project: whoever may not upload to it need not send the rest. This spares bytes, and
        decides nothing: the form and its file are looked at when they are whole.
        """
        if names and is_project_name(names[0]):
            self._project = normalize(names[0])
            self._pause()
            right = self._local.check_publisher(self._project, self._request.identity or Identity())
            right.addErrback(self._failed).addBoth(lambda _: self._resume())

    def _take(self, data: bytes) -> None:
        if self._writer is not None:
            wait = self._writer.write(data)
            if wait is not None:
                self._pause()
                wait.addErrback(self._failed).addBoth(lambda _: self._resume())

    def _finish(self) -> None:
        if self._outcome is None and self._parser is not None:
            try:
                form = self._parser.finish()
                self._settle(form)
            except Exception:  # noqa: BLE001  # the sender is told, and the log if it is no CheddarError
                self._failed(Failure())

    def _failed(self, failure: Failure) -> None:
        error = failure.check(CheddarError) and failure.value
        self._settle(error if isinstance(error, CheddarError) else failure)

    def _settle(self, outcome: ParsedForm | CheddarError | Failure) -> None:
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._early.clear()
        if not isinstance(outcome, ParsedForm):
            self._drop()
            if self._admission is not None and not self._admission.called:
                self._admission.errback(outcome)
            if isinstance(outcome, CheddarError):
                if isinstance(outcome, Forbidden | Reserved | BadCredentials):
                    noted = self._audited.refused(self._request, Action.UPLOAD, self._project, outcome)
                    Deferred.fromCoroutine(noted).addErrback(
                        lambda failure: self._log.failure("A refusal is not in the audit log", failure=failure)
                    )
                self._request.refuse(outcome)
            elif not self._complete:
                self._log.failure("An upload failed", failure=outcome)
                self._request.refuse(InternalError())
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

    def admitted(self) -> Deferred[None]:
        """Fires when the sender is known and may upload; fails with the reason why not."""
        self._admission = Deferred()
        if isinstance(self._outcome, CheddarError | Failure):
            self._admission.errback(self._outcome)
        elif self._parser is not None:
            self._admission.callback(None)
        return self._admission

    @returns_deferred
    async def arrived(self) -> ParsedForm:
        """The form, once the body is complete; fails with what is wrong with it."""
        if self._outcome is None:
            self._waiter = Deferred()
            await self._waiter
        if isinstance(self._outcome, ParsedForm):
            return self._outcome
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        assert isinstance(self._outcome, CheddarError)
        raise self._outcome

    def writer(self) -> IFileWriter:
        """The bytes of the file; whoever takes the writer commits or aborts it."""
        assert self._writer is not None
        writer, self._writer = self._writer, None
        return writer

    def abort(self) -> None:
        """The sender has left."""
        self._aborted = True
        self._drop()

    def _drop(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.abort().addErrback(lambda failure: self._log.failure("A partial upload stays", failure=failure))

    def _pause(self) -> None:
        self._pauses += 1
        if self._pauses == 1 and not self._complete:
            self._request.pause_reading()

    def _resume(self) -> None:
        self._pauses -= 1
        # Once the body is complete the channel itself says when it reads on.
        if self._pauses == 0 and not self._complete and not self._request.gone:
            self._request.resume_reading()


def upload_routes(routes: Routes, local: IPublishable) -> None:
    """Register the upload addresses."""

    @routes.authorized_route(Action.UPLOAD, "/pypi/", index="local", methods=("POST",))
    async def pypi(request: CheddarRequest) -> Response:
        return await _upload(request, local, routes.audited)

    @routes.authorized_route(Action.UPLOAD, "/legacy/", index="local", methods=("POST",))
    async def legacy(request: CheddarRequest) -> Response:
        return await _upload(request, local, routes.audited)


async def _upload(request: CheddarRequest, local: IPublishable, audited: Audited) -> Response:
    incoming = request.incoming
    assert incoming is not None  # gotLength saw the same path
    try:
        form = await incoming.arrived()
        action = _action(request, form)
        if action in _CHECKING:
            await local.check_publisher(_check_names(form), request.identity or Identity())
            metrics.uploads.labels("checked").inc()
        else:
            if not form.has_file or form.filename is None:
                raise Invalid("The form has no file: send it as the part `content`, with a file name.")
            upload = Upload(form.filename, form.fields, incoming.writer())
            await to_its_end(request, _publish(request, local, upload, audited))
    except AlreadyExists:
        metrics.uploads.labels("exists").inc()
        raise
    except CheddarError:
        metrics.uploads.labels("refused").inc()
        raise
    finally:
        incoming.abort()
    # 200 and nothing else: distutils takes any other success for a failure.
    return Response(headers={"Cache-Control": "no-store"})


@returns_deferred
async def _publish(request: CheddarRequest, local: IPublishable, upload: IUpload, audited: Audited) -> None:
    try:
        digests = await upload.writer.finish()
        event = Event(
            action=Action.UPLOAD.value,
            project=_claimed_name(upload),
            filename=upload.filename,
            digest=digests["sha256"],
        )
        await audited.change(request, event, lambda: local.publish(upload, request.identity or Identity()))
        metrics.uploads.labels("published").inc()
    finally:
        await upload.writer.abort()


def _claimed_name(upload: IUpload) -> str:
    """The (normalized) project as the form has it, or as the file's name does; for the audit log. Empty for neither."""
    name = next(iter(upload.fields.get("name", ())), "")
    if is_project_name(name):
        return normalize(name)
    try:
        return filenames.parse(upload.filename)[0]
    except Invalid:
        return ""


def _action(request: CheddarRequest, form: ParsedForm) -> str:
    """What the form asks for; where it does not say, a file means an upload, as with the original."""
    query = request.args.get(b":action", [b""])[0].decode("utf-8", "replace") if request.args else ""
    action = next(iter(form.fields.get(":action", ())), query) or ("file_upload" if form.has_file else "submit")
    if action in _WITHDRAWN:
        raise Gone(f"The action {action} is no longer supported; upload your files instead.")
    if action not in _PUBLISHING | _CHECKING:
        raise Invalid("The form's :action is not one of file_upload, submit, verify.")
    if form.fields.get("protocol_version", ("1",)) != ("1",):
        raise Invalid("The form's protocol_version is unknown; 1 is supported.")
    return action


def _check_names(form: ParsedForm) -> str:
    """@return: the (normalized) name that the form has. [Invalid]"""
    names, versions = form.fields.get("name", ()), form.fields.get("version", ())
    if len(names) != 1 or not is_project_name(names[0]):
        raise Invalid("The metadata needs one valid project name: letters, digits and ._- between them.")
    if len(versions) != 1 or not normalize_version(versions[0]).strip():
        raise Invalid("The metadata needs one version.")
    return normalize(names[0])
