"""Logins: who somebody is by which methods, and for which scope the token is."""

from node.plugins.identity.compliance_rules import prove
from node.plugins.identity.directory import Directory, directory
from node.plugins.identity.faults import unauthenticated
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.tables import SYSTEM, ApplicationCredential, Project, Trust, User
from node.plugins.identity.token_bodies import (
    ApplicationCredentialMethod,
    Auth,
    DomainRef,
    Identity,
    PasswordMethod,
    ProjectRef,
    Scope,
    TokenMethod,
    UserRef,
    expecting,
)
from node.plugins.identity.token_codec import EC2_METHOD
from node.plugins.identity.token_store import Session, open_token
from node.sdk import BadRequest, Context, Forbidden, Frozen, NotFound, Unauthorized


class Login(Frozen):
    """What the methods of a login agreed on."""

    user: User
    methods: tuple[str, ...]
    parent: Session | None = None
    """The token that was shown."""
    credential: ApplicationCredential | None = None


class Place(Frozen):
    """What a token is for."""

    scope: str = ""
    scope_id: str = ""
    trust: Trust | None = None


def authenticate(passwords: Passwords, ctx: Context, identity: Identity) -> Login:
    """Return whom all methods name.

    Raises:
        Unauthorized: 401, a method fails or they name different users.
        NotFound: 404, the token that is shown does not hold.
        BadRequest: 400, a method's part of the body is missing.
    """
    if not identity.methods:
        raise expecting("methods", "identity")
    known = directory(ctx.db)
    login: Login | None = None
    for method in dict.fromkeys(identity.methods):
        match method, identity:
            case "password", Identity(password=PasswordMethod() as given):
                found = _by_password(passwords, ctx, given)
            case "token", Identity(token=TokenMethod() as given):
                found = _by_token(ctx, given)
            case "application_credential", Identity(
                application_credential=ApplicationCredentialMethod() as given
            ):
                found = _by_credential(passwords, known, given, ctx.now())
            case "password" | "token" | "application_credential", _:
                raise expecting(method, "identity")
            case _:
                raise Unauthorized("Attempted to authenticate with an unsupported method.")
        login = found if login is None else _joined(login, found)
    assert login is not None
    return login


def _joined(first: Login, second: Login) -> Login:
    if first.user.id != second.user.id:
        raise unauthenticated()
    return Login(
        user=first.user,
        methods=(*first.methods, *(m for m in second.methods if m not in first.methods)),
        parent=first.parent or second.parent,
        credential=first.credential or second.credential,
    )


def find_user(known: Directory, ref: UserRef) -> User | None:
    """Return the user that a body names.

    Raises:
        BadRequest: 400, neither id nor name and domain are given.
    """
    if ref.id:
        return known.get(User, ref.id)
    if not ref.name:
        raise expecting("id or name", "user")
    if ref.domain is None:
        raise expecting("domain", "user")
    domain = find_domain(known, ref.domain)
    return known.named(User, ref.name, domain.id) if domain else None


def find_domain(known: Directory, ref: DomainRef) -> Project | None:
    """Return the domain that a body names.

    Raises:
        BadRequest: 400, neither id nor name is given.
    """
    if ref.id:
        domain = known.get(Project, ref.id)
        return domain if domain is not None and domain.is_domain else None
    if not ref.name:
        raise expecting("id or name", "domain")
    return known.named(Project, ref.name)


def _by_password(passwords: Passwords, ctx: Context, given: PasswordMethod) -> Login:
    found = find_user(directory(ctx.db), given.user)
    user = prove(passwords, ctx, found, given.user.password)
    if user.password_expires_at and user.password_expires_at <= ctx.now():
        raise Unauthorized(f"The password is expired and needs to be changed for user: {user.id}.")
    return Login(user=user, methods=("password",))


def _by_token(ctx: Context, given: TokenMethod) -> Login:
    parent = open_token(ctx.db, given.id, ctx.now())
    if parent is None:  # not 401: as in Keystone, where the token is looked for first
        raise NotFound("Failed to validate token")
    if parent.claims.trust_id:
        raise Forbidden("A trust-scoped token cannot be used to get another token.")
    methods = parent.claims.methods
    if EC2_METHOD in methods:
        raise Forbidden("A token of an EC2 key cannot be used to get another token.")
    return Login(
        user=parent.grant.user,
        methods=methods if "token" in methods else (*methods, "token"),
        parent=parent,
        credential=parent.grant.application_credential,
    )


def _by_credential(
    passwords: Passwords, known: Directory, given: ApplicationCredentialMethod, now_us: int
) -> Login:
    if given.id:
        credential = known.get(ApplicationCredential, given.id)
    elif given.name and given.user is not None:
        owner = find_user(known, given.user)
        credential = (
            known.db.one(ApplicationCredential, user_id=owner.id, name=given.name)
            if owner
            else None
        )
    else:
        raise expecting("id or name and user", "application_credential")
    fits = passwords.check(credential.secret_hash if credential else "", given.secret)
    user = known.active_user(credential.user_id) if credential else None
    if credential is None or not fits or user is None:
        raise unauthenticated()
    if credential.expires_at and credential.expires_at <= now_us:
        raise unauthenticated()
    return Login(user=user, methods=("application_credential",), credential=credential)


def choose_place(ctx: Context, auth: Auth, login: Login) -> Place:
    """Return the scope that is asked for, or the one that is meant when none is.

    Raises:
        Unauthorized: 401, there is no such scope.
        BadRequest: 400, more than one scope, or one that is not complete.
    """
    scope = auth.scope
    if isinstance(scope, str):
        if scope != "unscoped":
            raise expecting("project, domain, system or unscoped", "scope")
        scope = Scope(unscoped={})
    if login.credential is not None:
        return _place_of_credential(ctx, scope, login.credential, fresh=login.parent is None)
    known = directory(ctx.db)
    if scope is None:
        return _default_place(known, login.user)
    given = [
        part
        for part in (scope.project, scope.domain, scope.system, scope.trust)
        if part is not None
    ]
    if len(given) + (scope.unscoped is not None) != 1:
        raise BadRequest(
            "A project-scoped, a domain-scoped, a system-scoped, a trust-scoped or an unscoped token can be "
            "asked for, one at a time."
        )
    if scope.project is not None:
        return Place(scope="project", scope_id=_find_project(known, scope.project).id)
    if scope.domain is not None:
        domain = find_domain(known, scope.domain)
        if domain is None:
            raise unauthenticated()
        return Place(scope="domain", scope_id=domain.id)
    if scope.system is not None:
        if not scope.system.get("all"):
            raise expecting("all", "system")
        return Place(scope="system", scope_id=SYSTEM)
    if scope.trust is not None:
        return _place_of_trust(ctx, known, scope.trust.id, login.user)
    return Place()


def _place_of_credential(
    ctx: Context, scope: Scope | None, credential: ApplicationCredential, *, fresh: bool
) -> Place:
    """Return the credential's own project: a token of it, and any made from that, has no other scope."""
    if scope is not None:
        if fresh:
            raise Unauthorized("Application credentials cannot request a scope.")
        project = scope.project
        if project is None or _find_project(directory(ctx.db), project).id != credential.project_id:
            raise unauthenticated()
    return Place(scope="project", scope_id=credential.project_id)


def _default_place(known: Directory, user: User) -> Place:
    if user.default_project_id:
        grant = known.grant(user.id, "project", user.default_project_id)
        if grant is not None:
            return Place(scope="project", scope_id=user.default_project_id)
    return Place()


def _place_of_trust(ctx: Context, known: Directory, trust_id: str, user: User) -> Place:
    trust = known.get(Trust, trust_id)
    if trust is None or (trust.expires_at and trust.expires_at <= ctx.now()):
        raise unauthenticated()
    if trust.trustee_user_id != user.id:
        raise Forbidden("The user is not the trustee of this trust.")
    if trust.remaining_uses is not None and trust.remaining_uses < 1:
        raise Forbidden("The trust has no uses left.")
    return Place(scope="project", scope_id=trust.project_id, trust=trust)


def _find_project(known: Directory, ref: ProjectRef) -> Project:
    if ref.id:
        project = known.get(Project, ref.id)
    elif not ref.name:
        raise expecting("id or name", "project")
    elif ref.domain is None:
        raise expecting("domain", "project")
    else:
        domain = find_domain(known, ref.domain)
        project = known.named(Project, ref.name, domain.id) if domain else None
    if project is None:
        raise unauthenticated()
    return project
