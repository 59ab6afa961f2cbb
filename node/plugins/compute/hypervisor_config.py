"""Configuration of the hypervisor half: what an operator may choose about how servers run."""

from node.sdk import Frozen


class HypervisorSection(Frozen):
    """`[hypervisor]`: how this node runs servers."""

    virt_type: str = ""
    """kvm or qemu; empty: kvm where a probe guest really starts, else qemu (TCG)."""
    resume_guests_on_host_boot: bool = True
    """Whether servers that ran when the host went down are started again."""
    shutdown_timeout_s: float = 60.0
    """How long a guest may take to switch itself off before it is switched off."""
    port_timeout_s: float = 300.0
    """How long a server waits for its interfaces to be plugged before its build fails."""
    image_timeout_s: float = 1800.0
    """How long a server waits for its image to come from another node before its build fails."""
    volume_timeout_s: float = 1800.0
    """How long a server waits for a volume that is being made before its build fails."""
    machine: str = "pc"
    """Machine type of servers on x86: pc (boots a second sooner under TCG) or q35; the image's hw_machine_type wins."""
    cpu_model_tcg: str = "Nehalem"
    """CPU that guests see under TCG (x86-64-v2)."""
    tcg_cache_mib: int = 32
    """Translation cache of each guest under TCG."""
    console_log_kib: int = 1024
    """How much of a serial console is kept."""
    reserved_memory_mib: int = 512
    """Memory that is not given to servers."""
    reserved_disk_gib: int = 1
    """Disk space that is not given to servers."""
