"""The methods of Kennedy and Carpenter: for dy/dt = f_E + f_I an explicit method beside a stiffly accurate one with the
same nodes and result weights. On ODE terms the whole field is stepped implicitly.
"""

from dataclasses import dataclass
from typing import final

from sciml.integrate.implicit import Newton
from sciml.integrate.methods.dirk import AbstractDIRK
from sciml.integrate.methods.dirk_tableau import DIRKTableau

_G3 = 1767732205903 / 4055673282236
_B3 = (1471266399579 / 7840856788654, -4482444167858 / 7529755066697, 11266239266428 / 11593286722821, _G3)
_B3_HAT = (
    2756255671327 / 12835298489170,
    -10771552573575 / 22201958757719,
    9247589265047 / 10645013368117,
    2193209047091 / 5459859503100,
)
_T3 = DIRKTableau(
    c=(0.0, 2 * _G3, 3 / 5, 1.0),
    a=(
        (0.0,),
        (_G3, _G3),
        (2746238789719 / 10658868560708, -640167445237 / 6845629431997, _G3),
        _B3,
    ),
    b=_B3,
    order=3,
    error=tuple(x - y for x, y in zip(_B3, _B3_HAT, strict=True)),
    error_order=3,
    explicit=(
        (2 * _G3,),
        (5535828885825 / 10492691773637, 788022342437 / 10882634858940),
        (6485989280629 / 16251701735622, -4246266847089 / 9704473918619, 10755448449292 / 10357097424841),
    ),
)
_G4 = 0.25
_B4 = (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, _G4)
_B4_HAT = (
    4586570599 / 29645900160,
    0.0,
    178811875 / 945068544,
    814220225 / 1159782912,
    -3700637 / 11593932,
    61727 / 225920,
)
_T4 = DIRKTableau(
    c=(0.0, 0.5, 83 / 250, 31 / 50, 17 / 20, 1.0),
    a=(
        (0.0,),
        (_G4, _G4),
        (8611 / 62500, -1743 / 31250, _G4),
        (5012029 / 34652500, -654441 / 2922500, 174375 / 388108, _G4),
        (15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768, 2285395 / 8070912, _G4),
        _B4,
    ),
    b=_B4,
    order=4,
    error=tuple(x - y for x, y in zip(_B4, _B4_HAT, strict=True)),
    error_order=4,
    explicit=(
        (0.5,),
        (13861 / 62500, 6889 / 62500),
        (-116923316275 / 2393684061468, -2731218467317 / 15368042101831, 9408046702089 / 11113171139209),
        (
            -451086348788 / 2902428689909,
            -2682348792572 / 7519795681897,
            12662868775082 / 11960479115383,
            3355817975965 / 11060851509271,
        ),
        (
            647845179188 / 3216320057751,
            73281519250 / 8382639484533,
            552539513391 / 3454668386233,
            3354512671639 / 8306763924573,
            4040 / 17871,
        ),
    ),
)
_G5 = 41 / 200
_B5 = (
    -872700587467 / 9133579230613,
    0.0,
    0.0,
    22348218063261 / 9555858737531,
    -1143369518992 / 8141816002931,
    -39379526789629 / 19018526304540,
    32727382324388 / 42900044865799,
    _G5,
)
_B5_HAT = (
    -975461918565 / 9796059967033,
    0.0,
    0.0,
    78070527104295 / 32432590147079,
    -548382580838 / 3424219808633,
    -33438840321285 / 15594753105479,
    3629800801594 / 4656183773603,
    4035322873751 / 18575991585200,
)
_T5 = DIRKTableau(
    c=(0.0, 41 / 100, 2935347310677 / 11292855782101, 1426016391358 / 7196633302097, 92 / 100, 24 / 100, 3 / 5, 1.0),
    a=(
        (0.0,),
        (_G5, _G5),
        (41 / 400, -567603406766 / 11931857230679, _G5),
        (683785636431 / 9252920307686, 0.0, -110385047103 / 1367015193373, _G5),
        (3016520224154 / 10081342136671, 0.0, 30586259806659 / 12414158314087, -22760509404356 / 11113319521817, _G5),
        (
            218866479029 / 1489978393911,
            0.0,
            638256894668 / 5436446318841,
            -1179710474555 / 5321154724896,
            -60928119172 / 8023461067671,
            _G5,
        ),
        (
            1020004230633 / 5715676835656,
            0.0,
            25762820946817 / 25263940353407,
            -2161375909145 / 9755907335909,
            -211217309593 / 5846859502534,
            -4269925059573 / 7827059040719,
            _G5,
        ),
        _B5,
    ),
    b=_B5,
    order=5,
    error=tuple(x - y for x, y in zip(_B5, _B5_HAT, strict=True)),
    error_order=5,
    explicit=(
        (41 / 100,),
        (367902744464 / 2072280473677, 677623207551 / 8224143866563),
        (1268023523408 / 10340822734521, 0.0, 1029933939417 / 13636558850479),
        (14463281900351 / 6315353703477, 0.0, 66114435211212 / 5879490589093, -54053170152839 / 4284798021562),
        (
            14090043504691 / 34967701212078,
            0.0,
            15191511035443 / 11219624916014,
            -18461159152457 / 12425892160975,
            -281667163811 / 9011619295870,
        ),
        (
            19230459214898 / 13134317526959,
            0.0,
            21275331358303 / 2942455364971,
            -38145345988419 / 4862620318723,
            -1 / 8,
            -1 / 8,
        ),
        (
            -19977161125411 / 11928030595625,
            0.0,
            -40795976796054 / 6384907823539,
            177454434618887 / 12078138498510,
            782672205425 / 8267701900261,
            -69563011059811 / 9646580694205,
            7356628210526 / 4942186776405,
        ),
    ),
)


@final
@dataclass(frozen=True)
class KenCarp3(AbstractDIRK):
    """Order 3 with an estimate of order h³: four stages, L-stable, stiffly accurate, with an explicit partner.

    Args:
        newton: how the equations are solved.

    Source: Kennedy & Carpenter (2003), Appl. Numer. Math. 44, 139-181, appendix, ARK3(2)4L[2]SA.
    """

    newton: Newton = Newton()

    order = 3
    stages = 4
    tableau = _T3


@final
@dataclass(frozen=True)
class KenCarp4(AbstractDIRK):
    """Order 4 with an estimate of order h⁴: six stages, L-stable, stiffly accurate, with an explicit partner.

    Args:
        newton: how the equations are solved.

    Source: Kennedy & Carpenter (2003), Appl. Numer. Math. 44, 139-181, appendix, ARK4(3)6L[2]SA.
    """

    newton: Newton = Newton()

    order = 4
    stages = 6
    tableau = _T4


@final
@dataclass(frozen=True)
class KenCarp5(AbstractDIRK):
    """Order 5 with an estimate of order h⁵: eight stages, L-stable, stiffly accurate, with an explicit partner.

    On linear problems the published estimate is of order h⁶ and a tenth of the error of a step: ask for a tighter
    tolerance there, or take `Kvaerno5` or `KenCarp4`.

    Args:
        newton: how the equations are solved.

    Source: Kennedy & Carpenter (2003), Appl. Numer. Math. 44, 139-181, appendix, ARK5(4)8L[2]SA.
    """

    newton: Newton = Newton()

    order = 5
    stages = 8
    tableau = _T5
