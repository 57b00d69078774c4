"""A cluster in one process, without Ray: for debuggers, tests and tiny jobs; all others must equal it bit for bit."""

from collections import defaultdict
from collections.abc import Sequence

from distprop.errors import LostError, PlannedFault
from distprop.protocol import coordinator, messages, rhythm, server, worker
from distprop.protocol.effects import Finish, Send
from distprop.protocol.messages import COORDINATOR, Address
from distprop.runtime.blueprint import Blueprint
from distprop.runtime.keeper import Keeper
from distprop.runtime.memory import WeightLayout, anonymous
from distprop.runtime.replica import Replica, slot_layout
from distprop.runtime.role import Role
from distprop.runtime.scheduler import Fate, Scheduler
from distprop.runtime.session import Session
from distprop.runtime.timeline import Recorder


class InlineCluster:
    """Runs `servers` hosts with workers at `homes` (worker -> server), delivering messages as `fate` has it."""

    def __init__(
        self,
        blueprint: Blueprint,
        folder: str,
        servers: int,
        homes: Sequence[int],
        fate: Fate | None = None,
        profile: bool = False,
    ) -> None:
        self.servers, self.workers = servers, len(homes)
        self._blueprint, self._scheduler = blueprint, Scheduler(fate)
        self._replicas: list[Replica] = []
        self._lost: set[int] = set()
        self._interrupted = False
        self._recorders: dict[Address, Recorder] = defaultdict(lambda: Recorder(profile))
        layout = WeightLayout(blueprint.parameters)
        self._weights = [anonymous(layout.size) for _ in range(servers)]
        self._keepers = [Keeper(me, blueprint, memory, folder) for me, memory in enumerate(self._weights)]
        for me, keeper in enumerate(self._keepers):
            address = Address("server", me)
            state = server.ServerState(me)
            self._scheduler.roles[address] = Role(state, rhythm.step, keeper, self._recorders[address])
        for home in homes:
            self.join(home)

    def join(self, home: int) -> int:
        """A new worker on the host of server `home`; gives its number."""
        me = len(self._replicas)
        slots = anonymous(slot_layout(self._blueprint).size)
        recorder = self._recorders[Address("worker", me)]
        replica = Replica(me, self._blueprint, self._weights[home], slots, recorder.layers if recorder.on else None)
        self._replicas.append(replica)
        self._keepers[home].attach(me, slots)
        address, state = Address("worker", me), worker.WorkerState(me, home)
        role = self._scheduler.roles[address] = Role(state, worker.step, replica, recorder)
        replica.tell = lambda early: self._scheduler.post(role.receive(early))
        self._scheduler.deliver(Send(Address("server", home), messages.Joined(me, home)))
        return me

    def replace(self, worker: int, server: int) -> None:
        """A new worker in the place of one that is gone."""
        self._lost.add(worker)
        self.join(server)

    def restart(self) -> None:
        """Refused: there is no process to be lost but this one."""
        raise LostError("an inline job cannot be restarted", "it is one process", "resume it from its checkpoint")

    def kill_server(self, index: int) -> None:
        """Refused: inline, a server's end is the end of the process."""
        raise PlannedFault(
            f"server {index} cannot be killed inline", "all servers are one process", "rehearse this fault on Ray"
        )

    def kill_worker(self, me: int) -> None:
        """End a worker without warning; its server notices."""
        role = self._scheduler.roles.pop(Address("worker", me), None)
        if role is not None:
            home = role.state.home
            self._scheduler.deliver(Send(Address("server", home), messages.Gone(me, home, "it was killed")))

    def run(self, session: Session) -> Finish:
        """Conduct a session to its end."""
        self._interrupted = False
        alive = {address.number for address in self._scheduler.roles if address.role == "worker"}
        state, actions = coordinator.begin(session.opening, alive, self._lost)
        conductor = Role(state, coordinator.step, session.desk)
        self._scheduler.roles[COORDINATOR] = conductor
        self._scheduler.post(actions)
        for address, role in self._scheduler.roles.items():
            if address.role == "worker":
                joined = messages.Joined(address.number, role.state.home)
                self._scheduler.deliver(Send(COORDINATOR, joined))
        self._scheduler.run(
            lambda: session.desk.ended is not None, lambda: conductor.state.progress, lambda: self._heed(conductor)
        )
        self._scheduler.waiting.clear()
        for address, recorder in self._recorders.items():
            session.desk.timeline.add(recorder.take(address))
        ended = session.desk.ended
        assert ended is not None, "a session runs until it has ended"
        return ended

    def interrupt(self) -> None:
        """Ask the session to save and end."""
        self._interrupted = True

    def close(self) -> None:
        """Stop reading ahead."""
        for replica in self._replicas:
            replica.close()

    def _heed(self, conductor: Role[coordinator.CoordinatorState]) -> None:
        if self._interrupted:
            self._interrupted = False
            self._scheduler.post(conductor.receive(messages.Interrupt()))
